"""From "publish has returned" to "the handler is entered", while nothing else happens; the worker is another process."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from holdfast.bench.apart import SPAWN
from holdfast.bench.buses import declared, make_bus
from holdfast.bench.workload import NAME, SUBSCRIPTION, Numbers, key, new_id, payload, percentile, spread

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_WARM_UP = 20
_WARM_UP_PAUSE = 0.005
_SETTLING_PAUSE = 0.3
_PAUSES = (0.12, 0.2)  # longer than it takes the worker to slide to its longest pause
_PATIENCE = 10.0

Times = dict[bytes, int]
"""CLOCK_MONOTONIC, which all processes share, in nanoseconds, by event."""


def by_publish(dsn: str, events: int) -> Numbers:
    """The bus publishes, and sends its NOTIFY."""

    async def publish() -> Times:
        bus = declared(dsn)
        returned: Times = {}
        for number, pause in enumerate(_pauses(events)):
            published = await bus.publish(NAME, payload(number), key=key(number))
            returned[published.event_id.bytes] = time.monotonic_ns()
            await asyncio.sleep(pause)
        await bus.close()
        return returned

    return _measure(dsn, publish)


def by_insert(dsn: str, events: int) -> Numbers:
    """Another program inserts a row into ``event_store``: there is no NOTIFY, only the worker's polling finds it."""
    import psycopg
    from psycopg.types.json import Json

    async def insert() -> Times:
        returned: Times = {}
        statement = """insert into holdfast.event_store (id, tenant_id, event_name, event_key, payload)
            values (%s, 'default', %s, %s, %s)"""
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            for number, pause in enumerate(_pauses(events)):
                event_id = new_id()
                content = Json(payload(number))
                await connection.execute(statement, (event_id, NAME, key(number), content))
                returned[event_id.bytes] = time.monotonic_ns()
                await asyncio.sleep(pause)
        return returned

    return _measure(dsn, insert)


def _pauses(events: int) -> list[float]:
    return [_WARM_UP_PAUSE] * (_WARM_UP - 1) + [_SETTLING_PAUSE] + [random.uniform(*_PAUSES) for _ in range(events)]


def _measure(dsn: str, publish: Any) -> Numbers:
    here, there = SPAWN.Pipe()
    worker = SPAWN.Process(target=_work, args=(dsn, there))
    worker.start()
    there.close()  # so that the pipe ends with the worker
    try:
        here.recv()  # it works
        returned: Times = asyncio.run(publish())
        here.send(len(returned))
        entered: list[tuple[bytes, int]] = here.recv()
    finally:
        here.close()
        worker.join()
    return _compare(returned, entered)


def _compare(returned: Times, entered: list[tuple[bytes, int]]) -> Numbers:
    first = dict(reversed(entered))
    measured = list(returned.items())[_WARM_UP:]
    seconds = [(first[known] - at) / 1e9 for known, at in measured if known in first]
    counts: Numbers = {
        "samples": len(seconds), "lost": len(returned.keys() - first.keys()), "repeated": len(entered) - len(first),
    }  # fmt: skip
    if not seconds:  # all is lost, which is what has to be told
        return counts
    return spread(seconds) | {"p10_ms": 1000 * percentile(seconds, 10), "max_ms": 1000 * max(seconds)} | counts


def _work(dsn: str, pipe: Connection) -> None:
    """A worker that says when it works and, asked for a number of calls, when each one was; then it stops."""
    entered: list[tuple[bytes, int]] = []
    called = asyncio.Event()

    async def handle(event: Any) -> None:
        now = time.monotonic_ns()
        entered.append((event.id.bytes, now))
        called.set()

    async def run() -> None:
        bus = make_bus(dsn)
        bus.subscribe(NAME, handle, name=SUBSCRIPTION)
        async with bus:
            pipe.send("works")
            try:
                expected = await asyncio.to_thread(pipe.recv)
            except EOFError:  # whoever publishes has failed, and says so itself
                return
            with suppress(TimeoutError):  # what is missing then is counted as lost
                async with asyncio.timeout(_PATIENCE):
                    while len(entered) < expected:
                        called.clear()
                        await called.wait()
            pipe.send(entered)

    asyncio.run(run())
