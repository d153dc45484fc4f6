"""A large day is dropped while others publish and drain."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast.bench.buses import declared
from holdfast.bench.looking import make_looker
from holdfast.bench.working import Worker, wait_until
from holdfast.bench.workload import NAME, key, patience, payload, spread

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from holdfast.bench.workload import Numbers

_CALLERS = 20
_WARM_UP = 1.0
_WINDOW = 1.0  # the drop itself may be over in a moment
_DROP = """select rows_dropped from holdfast.drop_day(
    to_char((clock_timestamp() at time zone 'UTC')::date - 1, 'YYYYMMDD'))"""


@dataclass(slots=True)
class _Flow:
    """What the publishers did, and whether they shall end."""

    seconds: list[float] = field(default_factory=list)
    is_over: bool = False


def drop_yesterday(dsn: str, seconds: int) -> Numbers:
    """
    20 callers publish as fast as they can and a worker handles it; after so many seconds yesterday is dropped.

    ``dip_percent``: how much less was handled a second during the drop (during the second that began with it, if it was
    shorter) than before. ``slowest_ms``: of all publishes.
    """
    with closing(make_looker(dsn)) as looker, Worker(dsn) as worker:
        first = looker.first_of_last(1)
        numbers = asyncio.run(_drop_among(dsn, worker, seconds))
        published = int(numbers["published"])
        wait_until(lambda: worker.calls >= published, patience(published))
        receipts, _ = looker.wait_for_receipts(published, first)
        calls = worker.calls
    return numbers | {"lost": published - receipts, "repeated": calls - receipts}


async def _drop_among(dsn: str, worker: Worker, seconds: int) -> Numbers:
    flow = _Flow()
    publishers = asyncio.create_task(_publish(dsn, flow))
    await asyncio.sleep(_WARM_UP)
    before = await _rate_during(worker, asyncio.sleep(seconds))
    dropping = asyncio.create_task(_drop(dsn))
    during = await _rate_during(worker, dropping)
    flow.is_over = True
    await publishers
    return spread(flow.seconds) | dropping.result() | {
        "events_per_s": during, "dip_percent": 100 * (1 - during / before), "published": len(flow.seconds),
        "slowest_ms": 1000 * max(flow.seconds),
    }  # fmt: skip


async def _publish(dsn: str, flow: _Flow) -> None:
    bus, numbers = declared(dsn), count()

    async def call() -> None:
        while not flow.is_over:
            number = next(numbers)
            started = time.perf_counter()
            await bus.publish(NAME, payload(number), key=key(number))
            flow.seconds.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as callers:
        for _ in range(_CALLERS):
            callers.create_task(call())
    await bus.close()


async def _rate_during(worker: Worker, something: Awaitable[Any]) -> float:
    """How many events the worker handled a second meanwhile."""
    started, calls = time.perf_counter(), worker.calls
    await something
    return (worker.calls - calls) / (time.perf_counter() - started)


async def _drop(dsn: str) -> Numbers:
    """
    As a worker does it when a day is old enough: it gives way to who holds a lock, and tries again.

    ``commit_ms``: what of the drop that was done the commit takes, which removes the files.
    """
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        while True:
            started = time.perf_counter()
            try:
                row = await (await connection.execute(_DROP)).fetchone()
            except psycopg.errors.LockNotAvailable:
                await connection.rollback()
                continue
            break
        decided = time.perf_counter() - started
        await connection.commit()
        lasted = time.perf_counter() - started
    await asyncio.sleep(_WINDOW - lasted)  # returns at once if nothing is left of it
    return {
        "drop_ms": 1000 * lasted, "commit_ms": 1000 * (lasted - decided), "dropped": row[0] if row is not None else 0,
    }  # fmt: skip
