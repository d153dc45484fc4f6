"""Holdfast itself, measured from outside through its public face. Each function is run in a process of its own."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
from typing import TYPE_CHECKING, Any, Literal

import psycopg

from apart import SPAWN, peak_memory
from holdfast import EventBus
from workload import CALLERS, NAME, SUBSCRIPTION, Numbers, key, new_id, payload, percentile, rate, spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from threading import Event as Signal
    from uuid import UUID

Kind = Literal["async", "sync", "transactional"]

_LOAD_CHUNK = 10_000
_WARM_UP = 20


def make_bus(dsn: str) -> EventBus:
    return EventBus(dsn, auto_migrate=True, spool="off", require_tx="allow")


async def _ignore(event: Any) -> None:
    """What the subscription is declared with where nothing is handled."""


def _declared(dsn: str) -> EventBus:
    bus = make_bus(dsn)
    bus.subscribe(NAME, _ignore, name=SUBSCRIPTION)
    return bus


# ---- publishing


def load(dsn: str, events: int) -> None:
    """Make the tables, register the subscription and publish what it shall find."""

    async def run() -> None:
        bus = _declared(dsn)
        await bus.publish_many([])
        await bus.publish(f"{NAME}.first", {})  # registers, even where nothing is loaded
        for first in range(0, events, _LOAD_CHUNK):
            await bus.publish_many(_items(range(first, min(first + _LOAD_CHUNK, events))))
        await bus.close()

    asyncio.run(run())


def _items(numbers: range) -> list[dict[str, Any]]:
    return [{"name": NAME, "payload": payload(number), "key": key(number)} for number in numbers]


def publish_alone(dsn: str, events: int) -> Numbers:
    """One call after the other."""

    async def run() -> list[float]:
        bus = _declared(dsn)
        await bus.publish(NAME, payload(0), key=key(0))
        seconds = [await _timed_publish(bus, number) for number in range(events)]
        await bus.close()
        return seconds

    return spread(asyncio.run(run()))


async def _timed_publish(bus: EventBus, number: int) -> float:
    content = payload(number)
    started = time.perf_counter()
    await bus.publish(NAME, content, key=key(number))
    return time.perf_counter() - started


def publish_grouped(dsn: str, events: int) -> Numbers:
    """200 callers at once, each one call after the other."""

    async def run() -> tuple[float, list[float]]:
        bus = _declared(dsn)
        await bus.publish(NAME, payload(0), key=key(0))
        numbers = iter(range(events))
        seconds: list[float] = []

        async def caller() -> None:
            for number in numbers:
                seconds.append(await _timed_publish(bus, number))

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        elapsed = time.perf_counter() - started
        await bus.close()
        return elapsed, seconds

    elapsed, seconds = asyncio.run(run())
    return rate(events, elapsed) | spread(seconds)


def publish_many(dsn: str, events: int) -> Numbers:
    """All in one call."""

    async def run() -> float:
        bus = _declared(dsn)
        await bus.publish(NAME, payload(0), key=key(0))
        items = _items(range(events))
        started = time.perf_counter()
        await bus.publish_many(items)
        elapsed = time.perf_counter() - started
        await bus.close()
        return elapsed

    return rate(events, asyncio.run(run()))


# ---- draining


class Calls:
    """Counts handler calls, and tells when there were enough."""

    def __init__(self, expected: int) -> None:
        self._expected, self._loop = expected, asyncio.get_running_loop()
        self.count = 0
        self.first_at = 0.0
        self.enough = asyncio.Event()

    def note(self) -> None:
        self.count += 1
        if self.count == 1:
            self.first_at = time.perf_counter()
        if self.count == self._expected:
            self._loop.call_soon_threadsafe(self.enough.set)


def drain(dsn: str, events: int, kind: Kind = "async") -> Numbers:
    """
    Start a worker on *events* stored events and time it until every receipt can be read in ``event_consumers``.

    The time includes connecting, leases and start-up. The handlers read the payload and do nothing else; the
    transactional one writes a row.
    """

    async def run() -> Numbers:
        calls = Calls(events)
        bus = make_bus(dsn)
        bus.subscribe(NAME, _handler(kind, calls), name=SUBSCRIPTION, transactional=kind == "transactional")
        started = time.perf_counter()
        async with bus:
            try:
                async with asyncio.timeout(60 + events / 500):
                    await calls.enough.wait()
            except TimeoutError:
                pass  # counted below as lost
            receipts, finished = await asyncio.to_thread(_wait_for_receipts, dsn, events)
        numbers = rate(events, finished - started)
        numbers["start_ms"] = 1000 * (calls.first_at - started)
        numbers |= {"lost": events - receipts, "repeated": calls.count - receipts, "peak_mib": peak_memory() / 2**20}
        if kind == "transactional":
            numbers["effects_wrong"] = abs(events - _count(dsn, "select count(*) from bench_effects"))
        return numbers

    return asyncio.run(run())


def _handler(kind: Kind, calls: Calls) -> Callable[..., Any]:
    async def handle(event: Any) -> None:
        _ = event.payload
        calls.note()

    def handle_sync(event: Any) -> None:
        _ = event.payload
        calls.note()

    async def handle_in_transaction(event: Any, delivery: Any) -> None:
        _ = event.payload
        connection = delivery.connection
        if isinstance(connection, sqlite3.Connection):
            connection.execute("insert into bench_effects values (?)", (str(event.id),))
        else:
            await connection.execute("insert into public.bench_effects values (%s)", (event.id,))
        calls.note()

    return {"async": handle, "sync": handle_sync, "transactional": handle_in_transaction}[kind]


def _wait_for_receipts(dsn: str, events: int) -> tuple[int, float]:
    """How many receipts there are, and when the question was asked whose answer was "all"."""
    prefix = "" if dsn.startswith("sqlite") else "holdfast."
    question = f"select count(*) from {prefix}event_consumers where consumer_name = '{SUBSCRIPTION}'"
    deadline = time.monotonic() + 10
    while True:
        asked = time.perf_counter()
        found = _count(dsn, question)
        if found >= events or time.monotonic() > deadline:
            return found, asked
        time.sleep(0.0005)


_connections: dict[str, Any] = {}


def _count(dsn: str, question: str) -> int:
    if dsn not in _connections:
        if dsn.startswith("sqlite"):
            _connections[dsn] = sqlite3.connect(dsn.removeprefix("sqlite:///"), check_same_thread=False)
        else:
            _connections[dsn] = psycopg.connect(dsn, autocommit=True)
    return int(_connections[dsn].execute(question).fetchone()[0])


# ---- latency


def latency(dsn: str, events: int, *, notify: bool = True) -> Numbers:
    """
    From "publish has returned" to "the handler is entered", while nothing else happens; the worker is another process.

    Without *notify*, a plain INSERT by another program takes the place of publish: only polling can find it.
    """
    parent, child = SPAWN.Pipe()
    worker = SPAWN.Process(target=_work, args=(dsn, child), daemon=True)
    worker.start()
    try:
        parent.recv()  # it works
        returned = asyncio.run(_publish_slowly(dsn, events, notify=notify))
        parent.send(len(returned))
        entered: list[tuple[bytes, int]] = parent.recv()
    finally:
        parent.send(0)
        worker.join(30)
    first = dict(reversed(entered))
    seconds = [(first[known] - at) / 1e9 for known, at in list(returned.items())[_WARM_UP:] if known in first]
    lost = sum(known not in first for known in returned)
    return spread(seconds) | {
        "p10_ms": 1000 * percentile(seconds, 10), "max_ms": 1000 * max(seconds), "samples": len(seconds),
        "lost": lost, "repeated": len(entered) - len(first),
    }  # fmt: skip


async def _publish_slowly(dsn: str, events: int, *, notify: bool) -> dict[bytes, int]:
    """Publish one event after the other; the pauses are longer than the worker's slide into idleness."""
    publish = _by_bus(dsn) if notify else _by_insert(dsn)
    returned: dict[bytes, int] = {}
    async for store in publish:
        for number in range(_WARM_UP + events):
            event_id = new_id()
            await store(event_id, number)
            returned[event_id.bytes] = time.monotonic_ns()
            await asyncio.sleep(0.005 if number < _WARM_UP else random.uniform(0.12, 0.2))
    return returned


async def _by_bus(dsn: str) -> Any:
    async with _publishing(dsn) as bus:
        yield lambda event_id, number: bus.publish(NAME, payload(number), key=key(number), event_id=event_id)
