"""Draining, measured from outside through Holdfast's public face. Each function is run in a process of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from holdfast.bench.apart import peak_memory
from holdfast.bench.buses import make_bus
from holdfast.bench.looking import make_looker
from holdfast.bench.workload import NAME, SUBSCRIPTION, Numbers, rate

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["async", "sync", "transactional"]


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
        calls, looker = Calls(events), make_looker(dsn)
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
