"""From "publish has returned" to "the handler is entered", while nothing else happens; the worker is another process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
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

Times = dict[Hashable, int]
"""CLOCK_MONOTONIC, which all processes share, in nanoseconds, by event."""

Publish = Callable[[Sequence[float]], Coroutine[Any, Any, Times]]
"""Publishes as many events as there are pauses, each followed by its pause, and says when each call had returned."""

Work = Callable[..., None]
"""A worker, run in a process of its own, that reports through the pipe that is its first argument; see `Entries`."""


def by_publish(dsn: str, events: int) -> Numbers:
    """The bus publishes, and sends its NOTIFY."""

    async def publish(pauses: Sequence[float]) -> Times:
        bus = declared(dsn)
        returned: Times = {}
        for number, pause in enumerate(pauses):
            published = await bus.publish(NAME, payload(number), key=key(number))
            returned[published.event_id.bytes] = time.monotonic_ns()
            await asyncio.sleep(pause)
        await bus.close()
        return returned

    return measure(events, publish, _work, dsn)


def by_insert(dsn: str, events: int) -> Numbers:
    """Another program inserts a row into ``event_store``: there is no NOTIFY, only the worker's polling finds it."""
    import psycopg
    from psycopg.types.json import Json

    async def insert(pauses: Sequence[float]) -> Times:
        returned: Times = {}
        statement = """insert into holdfast.event_store (id, tenant_id, event_name, event_key, payload)
            values (%s, 'default', %s, %s, %s)"""
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            for number, pause in enumerate(pauses):
                event_id = new_id()
                content = Json(payload(number))
                await connection.execute(statement, (event_id, NAME, key(number), content))
                returned[event_id.bytes] = time.monotonic_ns()
                await asyncio.sleep(pause)
        return returned

    return measure(events, insert, _work, dsn)


def measure(events: int, publish: Publish, work: Work, *arguments: Any) -> Numbers:
    """Publish *events* after a warm-up, while *work* handles them in another process, called with a pipe and *arguments*."""
    here, there = SPAWN.Pipe()
    worker = SPAWN.Process(target=work, args=(there, *arguments))
    worker.start()
    there.close()  # so that the pipe ends with the worker
    try:
        here.recv()  # it works
        returned = asyncio.run(publish(_pauses(events)))
        here.send(len(returned))
        entered: list[tuple[Hashable, int]] = here.recv()
    finally:
        here.close()
        worker.join()
    return _compare(returned, entered)


def _pauses(events: int) -> list[float]:
    return [_WARM_UP_PAUSE] * (_WARM_UP - 1) + [_SETTLING_PAUSE] + [random.uniform(*_PAUSES) for _ in range(events)]


def _compare(returned: Times, entered: list[tuple[Hashable, int]]) -> Numbers:
    first = dict(reversed(entered))
    measured = list(returned.items())[_WARM_UP:]
    seconds = [(first[known] - at) / 1e9 for known, at in measured if known in first]
    counts: Numbers = {
        "samples": len(seconds), "lost": len(returned.keys() - first.keys()), "repeated": len(entered) - len(first),
    }  # fmt: skip
    if not seconds:  # all is lost, which is what has to be told
        return counts
    return spread(seconds) | {"p10_ms": 1000 * percentile(seconds, 10), "max_ms": 1000 * max(seconds)} | counts


class Entries:
    """When the handler was entered, for which event. Made inside the worker's event loop; noted from any thread."""

    def __init__(self) -> None:
        self._entered: list[tuple[Hashable, int]] = []
        self._loop, self._called = asyncio.get_running_loop(), asyncio.Event()

    def note(self, event: Hashable) -> None:
        self._entered.append((event, time.monotonic_ns()))
        self._loop.call_soon_threadsafe(self._called.set)

    async def report(self, pipe: Connection) -> None:
        """Say that the worker works and, asked for a number of calls, when each one was."""
        pipe.send("works")
        try:
            expected = await asyncio.to_thread(pipe.recv)
        except EOFError:  # whoever publishes has failed, and says so itself
            return
        with suppress(TimeoutError):  # what is missing then is counted as lost
            async with asyncio.timeout(_PATIENCE):
                while len(self._entered) < expected:
                    self._called.clear()
                    await self._called.wait()
        pipe.send(self._entered)


def _work(pipe: Connection, dsn: str) -> None:
    async def run() -> None:
        entries = Entries()

        async def handle(event: Any) -> None:
            entries.note(event.id.bytes)

        bus = make_bus(dsn)
        bus.subscribe(NAME, handle, name=SUBSCRIPTION)
        async with bus:
            await entries.report(pipe)

    asyncio.run(run())
