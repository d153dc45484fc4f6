"""Draining, measured from outside through Holdfast's public face. Each function is run in a process of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal

from holdfast.bench.apart import peak_memory
from holdfast.bench.buses import make_bus, subscribe
from holdfast.bench.looking import make_looker
from holdfast.bench.publishing import at_once
from holdfast.bench.working import Worker, wait_until
from holdfast.bench.workload import Numbers, patience, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["async", "reading", "sync", "transactional"]

_SHARING_PATIENCE = 30.0
_EQUAL_SHARES = """select count(*) from (
    select from holdfast.leases where owner is not null group by owner
    having count(*) * {} = (select count(*) from holdfast.leases)) as equal"""


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


def drain(dsn: str, events: int, kind: Kind = "async", subscriptions: int = 1) -> Numbers:
    """
    Start a worker on *events* stored events and time it until every receipt can be read in ``event_consumers``.

    The time includes connecting, leases and start-up. The handlers do nothing, as the overlapped raw loop does
    not touch a payload either; the reading one reads it, the transactional one writes a row.
    """

    async def run() -> Numbers:
        calls, looker = Calls(events), make_looker(dsn)
        first = looker.first_of_last(events)
        bus = make_bus(dsn)
        subscribe(bus, _handler(kind, calls), subscriptions, transactional=kind == "transactional")
        started, busy = time.perf_counter(), time.process_time()
        async with bus:
            with suppress(TimeoutError):  # what is missing then is counted as lost
                async with asyncio.timeout(patience(events)):
                    await calls.enough.wait()
            receipts, finished = await asyncio.to_thread(looker.wait_for_receipts, events, first)
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


def drain_started(dsn: str, events: int, workers: int = 1) -> Numbers:
    """
    Let workers start, each in its process with its share of the partitions, and only then store *events* events at once.

    The time runs from the return of that publish to the last receipt. PostgreSQL only.
    """
    looker = make_looker(dsn)
    with ExitStack() as stack:
        crew = [stack.enter_context(Worker(dsn)) for _ in range(workers)]
        if not wait_until(lambda: looker.ask(_EQUAL_SHARES.format(workers)) == workers, _SHARING_PATIENCE):
            raise TimeoutError(f"{workers} workers did not share the partitions equally")
        busy = _busy(crew)
        at_once(dsn, events)
        started = time.perf_counter()
        wait_until(lambda: sum(worker.calls for worker in crew) >= events, patience(events))
        receipts, finished = looker.wait_for_receipts(events)
        busy = _busy(crew) - busy
        calls = sum(worker.calls for worker in crew)
    looker.close()
    return rate(events, finished - started) | {
        "cpu_us_per_event": 1e6 * busy / events, "lost": events - receipts, "repeated": calls - receipts,
    }  # fmt: skip


def _busy(crew: Sequence[Worker]) -> float:
    return sum(worker.look().busy for worker in crew)


def _handler(kind: Kind, calls: Calls) -> Callable[..., Any]:
    async def handle(_: Any) -> None:
        calls.note()

    async def read(event: Any) -> None:
        _ = event.payload
        calls.note()

    def handle_in_thread(_: Any) -> None:
        calls.note()

    async def handle_in_transaction(event: Any, delivery: Any) -> None:
        connection = delivery.connection
        if isinstance(connection, sqlite3.Connection):
            connection.execute("insert into bench_effects values (?)", (str(event.id),))
        else:
            await connection.execute("insert into public.bench_effects values (%s)", (event.id,))
        calls.note()

    handlers: dict[Kind, Callable[..., Any]] = {
        "async": handle, "reading": read, "sync": handle_in_thread, "transactional": handle_in_transaction,
    }  # fmt: skip
    return handlers[kind]
