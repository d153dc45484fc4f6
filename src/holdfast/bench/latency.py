"""From "publish has returned" to "the handler is entered"; the worker is another process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from holdfast.bench.buses import declared
from holdfast.bench.working import Worker, wait_until
from holdfast.bench.workload import NAME, Numbers, key, new_id, payload, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

_WARM_UP = 20
_WARM_UP_PAUSE = 0.005
_SETTLING_PAUSE = 0.3
_PAUSES = (0.12, 0.2)  # longer than it takes the worker to slide to its longest pause
_PATIENCE = 10.0
FLOW_PER_S = 5_000
_AT_A_TIME = 5  # a millisecond's worth

Times = dict[Hashable, int]
"""CLOCK_MONOTONIC, which all processes share, in nanoseconds, by event."""


def by_publish(dsn: str, events: int) -> Numbers:
    """The bus publishes, and sends its NOTIFY; nothing else happens."""

    async def publish() -> Times:
        bus = declared(dsn)
        returned: Times = {}
        for number, pause in enumerate(pauses(events)):
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
            for number, pause in enumerate(pauses(events)):
                event_id = new_id()
                content = Json(payload(number))
                await connection.execute(statement, (event_id, NAME, key(number), content))
                returned[event_id.bytes] = time.monotonic_ns()
                await asyncio.sleep(pause)
        return returned

    return _measure(dsn, insert)


def while_flowing(dsn: str, events: int) -> Numbers:
    """5,000 events are published in each second. The first fifth of them is left out: then the flow has come to rest."""
    returned: Times = {}

    async def publish() -> Times:
        bus = declared(dsn)

        async def publish_one(number: int) -> None:
            published = await bus.publish(NAME, payload(number), key=key(number))
            returned[published.event_id.bytes] = time.monotonic_ns()

        await publish_one(0)  # connects
        started = time.monotonic()
        async with asyncio.TaskGroup() as flow:
            for first in range(0, events, _AT_A_TIME):
                await asyncio.sleep(max(0.0, started + first / FLOW_PER_S - time.monotonic()))
                for number in range(first, min(first + _AT_A_TIME, events)):
                    flow.create_task(publish_one(number))
        await bus.close()
        return returned

    numbers = _measure(dsn, publish, warm_up=events // 5)
    times = list(returned.values())
    return numbers | {"published_per_s": 1e9 * events / (times[-1] - times[0])}


def pauses(events: int) -> list[float]:
    """One behind each publish: first those of the warm-up."""
    return [_WARM_UP_PAUSE] * (_WARM_UP - 1) + [_SETTLING_PAUSE] + [random.uniform(*_PAUSES) for _ in range(events)]


def _measure(dsn: str, publish: Callable[[], Coroutine[Any, Any, Times]], warm_up: int = _WARM_UP) -> Numbers:
    with Worker(dsn, keep_times=True) as worker:
        returned = asyncio.run(publish())
        wait_until(lambda: worker.calls >= len(returned), _PATIENCE)  # what is missing then is counted as lost
        entered = worker.look().entered
    return compare(returned, entered, warm_up)


def compare(returned: Times, entered: Sequence[tuple[Hashable, int]], warm_up: int = _WARM_UP) -> Numbers:
    """When publishes had returned beside when handlers were *entered*, without the warm-up."""
    first = dict(reversed(entered))
    measured = list(returned.items())[warm_up:]
    seconds = [(first[known] - at) / 1e9 for known, at in measured if known in first]
    counts: Numbers = {
        "samples": len(seconds), "lost": len(returned.keys() - first.keys()), "repeated": len(entered) - len(first),
    }  # fmt: skip
    if not seconds:  # all is lost, which is what has to be told
        return counts
    return spread(seconds) | counts
