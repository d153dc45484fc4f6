"""Holdfast itself, measured from outside through its public face. Each function is run in a process of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from apart import peak_memory
from workload import CALLERS, NAME, SUBSCRIPTION, Numbers, key, payload, rate, spread

from holdfast import EventBus

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["async", "sync", "transactional"]

_LOAD_CHUNK = 10_000


def make_bus(dsn: str) -> EventBus:
    return EventBus(dsn, auto_migrate=True, spool="off")


async def _ignore(event: Any) -> None:
    """Never called: the subscription's name is what counts."""


def declared(dsn: str) -> EventBus:
    """A bus that registers the subscription when it first publishes."""
    bus = make_bus(dsn)
    bus.subscribe(NAME, _ignore, name=SUBSCRIPTION)
    return bus


# ---- publishing


def load(dsn: str, events: int) -> None:
    """Make the tables, register the subscription and publish what it shall find."""

    async def run() -> None:
        bus = declared(dsn)
        if not events:
            await bus.publish(f"{NAME}.first", {})  # nobody's; it registers the subscription
        for first in range(0, events, _LOAD_CHUNK):
            await bus.publish_many(_items(range(first, min(first + _LOAD_CHUNK, events))))
        await bus.close()

    asyncio.run(run())


def _items(numbers: range) -> list[dict[str, Any]]:
    return [{"name": NAME, "payload": payload(number), "key": key(number)} for number in numbers]


def publish_alone(dsn: str, events: int) -> Numbers:
    """One call after the other."""

    async def run() -> list[float]:
        bus = declared(dsn)
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
        bus = declared(dsn)
        await bus.publish(NAME, payload(0), key=key(0))
        numbers = iter(range(events))
        seconds: list[float] = []

        async def caller() -> None:
            for number in numbers:  # the callers share them out
                seconds.append(await _timed_publish(bus, number))  # noqa: PERF401 - all add to one list

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
        bus = declared(dsn)
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
        calls, looker = Calls(events), Looker(dsn)
        bus = make_bus(dsn)
        bus.subscribe(NAME, _handler(kind, calls), name=SUBSCRIPTION, transactional=kind == "transactional")
        started, busy = time.perf_counter(), time.process_time()
        async with bus:
            with suppress(TimeoutError):  # what is missing then is counted as lost
                async with asyncio.timeout(30 + events / 500):
                    await calls.enough.wait()
            receipts, finished = await asyncio.to_thread(looker.wait_for_receipts, events)
            busy = time.process_time() - busy
        numbers = rate(events, finished - started) | {
            "cpu_us_per_event": 1e6 * busy / events, "start_ms": 1000 * (calls.first_at - started), "lost": events - receipts,
            "repeated": calls.count - receipts, "peak_mib": peak_memory() / 2**20,
        }  # fmt: skip
        if kind == "transactional":
            numbers["wrong_effects"] = abs(events - looker.ask("select count(*) from bench_effects"))
        looker.close()
        return numbers

    return asyncio.run(run())


def _handler(kind: Kind, calls: Calls) -> Callable[..., Any]:
    async def handle(event: Any) -> None:
        _ = event.payload
        calls.note()

    def handle_in_thread(event: Any) -> None:
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

    handlers: dict[Kind, Callable[..., Any]] = {
        "async": handle, "sync": handle_in_thread, "transactional": handle_in_transaction,
    }  # fmt: skip
    return handlers[kind]


class Looker:
    """Looks at the outcome as any SQL reader can, on a connection of its own."""

    def __init__(self, dsn: str) -> None:
        self._connection: Any
        if dsn.startswith("sqlite"):
            self._connection = sqlite3.connect(dsn.removeprefix("sqlite:///"), check_same_thread=False)
            self._consumers = "event_consumers"
        else:
            self._connection = psycopg.connect(dsn, autocommit=True)
            self._consumers = "holdfast.event_consumers"

    def ask(self, question: str) -> int:
        return int(self._connection.execute(question).fetchone()[0])

    def wait_for_receipts(self, events: int) -> tuple[int, float]:
        """How many receipts there are, and when the question was asked whose answer was "all"."""
        deadline = time.monotonic() + 10
        while True:
            asked = time.perf_counter()
            found = self.ask(f"select count(*) from {self._consumers} where consumer_name = '{SUBSCRIPTION}'")
            if found >= events or time.monotonic() > deadline:
                return found, asked
            time.sleep(0.0005)

    def close(self) -> None:
        self._connection.close()
