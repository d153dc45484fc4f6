"""The measures of an alternative: the same work, payload and end as Holdfast's, each run in a process of its own.

A drain ends when no event is left that a reader sees unacknowledged; the handlers read the payload and note its number.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.bench.alternatives import entries, sessions
from holdfast.bench.workload import Numbers, payload, rate, spread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from holdfast.bench.alternatives.alternative import Alternative, Content, Left, Publisher
    from holdfast.bench.latency import Times

_CHUNK = 10_000
_LIMIT_S = 30.0  # then the rate of what is done says enough
_PATIENCE_S = 10.0
_PAUSE_S = 0.0005


def publish_alone(alternative: Alternative, dsn: str, events: int) -> Numbers:
    """One call after the other."""

    async def run(address: str) -> list[float]:
        async with alternative.publishing(address) as publisher:
            await publisher.one(payload(0))
            return [await _timed(publisher, payload(number)) for number in range(events)]

    with alternative.prepared(dsn) as address:
        return spread(asyncio.run(run(address)))


async def _timed(publisher: Publisher, content: Content) -> float:
    started = time.perf_counter()
    await publisher.one(content)
    return time.perf_counter() - started


def publish_bulk(alternative: Alternative, dsn: str, events: int) -> Numbers:
    """All in one call."""

    async def run(address: str) -> float:
        contents = [payload(number) for number in range(events)]
        async with alternative.publishing(address) as publisher:
            await publisher.one(payload(0))
            started = time.perf_counter()
            await publisher.many(contents)
            return time.perf_counter() - started

    with alternative.prepared(dsn) as address:
        return rate(events, asyncio.run(run(address)))


def drain(alternative: Alternative, dsn: str, events: int) -> Numbers:
    """One worker handles what is there. The time includes connecting and start-up. See `sessions.dead_rows`."""
    with alternative.prepared(dsn) as address:
        _publish(alternative, address, range(events))
        dead = sessions.dead_rows(dsn) if alternative.in_postgres else 0
        numbers = _drain(alternative, address)
        if alternative.in_postgres:
            numbers["dead_rows_per_event"] = (sessions.dead_rows(dsn) - dead) / events
    return numbers


def drain_held_back(alternative: Alternative, dsn: str, events: int) -> Numbers:
    """The same after it has handled as many events under the eyes of another session's old snapshot, which stays."""
    with alternative.prepared(dsn) as address, sessions.old_snapshot(dsn):
        _publish(alternative, address, range(events))
        _drain(alternative, address)
        _publish(alternative, address, range(events, 2 * events))
        return _drain(alternative, address)


def _publish(alternative: Alternative, address: str, numbers: range) -> None:
    async def run() -> None:
        async with alternative.publishing(address) as publisher:
            for first in range(0, len(numbers), _CHUNK):
                await publisher.many([payload(number) for number in numbers[first : first + _CHUNK]])

    asyncio.run(run())


class _Calls:
    """Counts handler calls and the events that they were for, and tells when there were enough."""

    def __init__(self, expected: int) -> None:
        self._expected, self._loop, self._enough = expected, asyncio.get_running_loop(), asyncio.Event()
        self.count = 0
        self.events = set[int]()

    def note(self, content: Content) -> None:
        self.count += 1
        self.events.add(content["order_id"])
        if len(self.events) == self._expected:
            self._loop.call_soon_threadsafe(self._enough.set)

    async def wait(self) -> float:
        """The seconds after which to give up: few, if there were enough calls in time, as only receipts are missing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LIMIT_S):
                await self._enough.wait()
        return _PATIENCE_S if self._enough.is_set() else 0.0


def _drain(alternative: Alternative, address: str) -> Numbers:
    """Handle all that is left, or as much as can be in the time; lost is what is left no more and was not handled."""

    async def run(left: Left) -> Numbers:
        stored = left()
        calls = _Calls(stored)
        started, busy = time.perf_counter(), time.process_time()
        async with alternative.working(address, calls.note):
            patience = await calls.wait()
            remaining, finished = await asyncio.to_thread(_look, left, patience)
            busy = time.process_time() - busy
        done = stored - remaining
        return rate(done, finished - started) | {
            "cpu_us_per_event": 1e6 * busy / max(1, done), "lost": max(0, done - len(calls.events)),
            "repeated": calls.count - len(calls.events), "left": remaining,
        }  # fmt: skip

    with alternative.looking(address) as left:
        return asyncio.run(run(left))


def _look(left: Left, patience_s: float) -> tuple[int, float]:
    """How many events are left, and when the question was asked whose answer was "none"."""
    deadline = time.monotonic() + patience_s
    while True:
        asked = time.perf_counter()
        found = left()
        if not found or time.monotonic() >= deadline:
            return found, asked
        time.sleep(_PAUSE_S)


def idle_latency(alternative: Alternative, dsn: str, events: int) -> Numbers:
    """From "publish has returned" to "the handler is entered", while nothing else happens."""
    with alternative.prepared(dsn) as address:

        async def publish(pauses: Sequence[float]) -> Times:
            returned: Times = {}
            async with alternative.publishing(address) as publisher:
                for number, pause in enumerate(pauses):
                    await publisher.one(payload(number))
                    returned[number] = time.monotonic_ns()
                    await asyncio.sleep(pause)
            return returned

        return entries.measure(events, publish, _work, alternative, address)


def _work(pipe: Connection, alternative: Alternative, address: str) -> None:
    async def run() -> None:
        entered = entries.Entries()
        async with alternative.working(address, lambda content: entered.note(content["order_id"])):
            await entered.report(pipe)

    asyncio.run(run())
