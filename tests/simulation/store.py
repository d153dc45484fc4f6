"""The simulated store: what `holdfast.stores.base.Store` promises, in memory, with the traps of PostgreSQL.

It passes ``tests/contract`` as the real ones do; what is skipped there, and why, is a table in that folder.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from holdfast.event import EPOCH
from holdfast.stores.values import Maintenance
from tests.simulation.server import UNSETTLED
from tests.simulation.snapshots import snapshot
from tests.simulation.store_handlers import HandlerTransactions
from tests.simulation.store_log import Log
from tests.simulation.store_reader import SimulatedReader
from tests.simulation.store_subscriptions import Subscriptions
from tests.simulation.tables import StoredSnapshot
from tests.simulation.wire import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from holdfast.archive import Archive
    from holdfast.event import NewEvent
    from holdfast.schedule import Firing, Schedule
    from holdfast.stores.scheduling import Standing
    from holdfast.stores.values import Laggard, Sampled
    from tests.simulation.server import Server
    from tests.simulation.wire import Wire

_MINUTE, _TEN_MINUTES, _FUTURE = 60.0, 600.0, 300.0
_DAY = 86_400


class SimulatedStore(Log, Subscriptions, HandlerTransactions):
    """One process's view of the server.

    Args:
        server: Shared by all processes.
        wire: How this process reaches it.
        page_events: Most events of a page, however many are asked for: so that windows are paged in short runs.
    """

    def __init__(self, server: Server, wire: Wire, *, page_events: int = 10**9) -> None:
        self._server, self._wire, self._page_events = server, wire, page_events
        self.address = "simulated"
        self.is_durable = self.is_remote = True
        self.identity = "simulated"
        self.listeners: list[Callable[[], None]] = server.listeners

    async def open(self) -> None:
        await self._wire.call("open", at_once(self._open))

    def _open(self) -> None:
        self._server.current_incarnation()

    async def close(self) -> None:
        """There is nothing to close: sessions end with their process."""

    def abandon(self) -> None:
        """As `close`."""

    async def migrate(self) -> list[str]:
        return []

    def latest(self, places: Collection[str]) -> str:
        return max(places, key=lambda place: (snapshot(place).xmax, -len(snapshot(place).running)))

    async def reader(self) -> SimulatedReader:
        await self._wire.call("reader", at_once(self._open))
        return SimulatedReader(self._server, self._wire, self._page_events)

    # Wake-up

    async def notify(self) -> None:
        await self._wire.call("notify", at_once(self._notify))

    def _notify(self) -> None:
        for wake in list(self.listeners):
            self._wire.hint(wake)

    async def listen(self, wake: Callable[[], None]) -> None:
        loop, context = asyncio.get_running_loop(), copy_context()

        def wake_there() -> None:
            loop.call_soon(wake, context=context)

        self.listeners.append(wake_there)
        try:
            await loop.create_future()
        finally:
            self.listeners.remove(wake_there)

    # What waits for its time: nothing here

    async def next_scheduled(self) -> float | None:
        """Nothing is scheduled."""
        return None

    async def publish_due(self, limit: int) -> int:
        """Nothing is due."""
        return 0

    async def cancel(self, event_id: UUID) -> bool:
        return False

    async def reschedule(self, event_id: UUID, due_at: datetime) -> bool:
        return False

    async def add_schedules(self, schedules: Sequence[tuple[Schedule, datetime]]) -> None:
        """Nobody declares any."""

    async def schedules(self, names: Collection[str]) -> tuple[datetime, list[Standing]]:
        return EPOCH, []

    async def advance_schedule(self, standing: Standing, firing: Firing, events: Sequence[NewEvent]) -> bool:
        return False

    # House-keeping

    async def maintain(self, *, retention: float | None, archive: Archive | None = None) -> Maintenance:
        assert archive is None, "it has no disk"
        return await self._wire.call("maintain", at_once(self._maintain, retention))

    async def add_samples(self, worker: UUID, samples: Sequence[Sampled]) -> None:
        """What charts are made of has no bearing on what is delivered."""

    async def add_lags(self, worker: UUID) -> None:
        """Neither has this."""

    async def near_retention(self, seconds: float) -> tuple[str, ...]:
        """Here everybody holds."""
        return ()

    async def laggards(self, *, retention: float) -> list[Laggard]:
        """Here everybody holds."""
        return []

    def _maintain(self, retention: float | None) -> Maintenance:
        server, tables, now = self._server, self._server.tables, self._server.clock()
        if not any(now - _MINUTE < one.at <= now for one in tables.snapshots):
            tables.snapshots.append(StoredSnapshot(now, server.snapshot()))
            server.flush()
        tables.snapshots = [one for one in tables.snapshots if one.at < now + _FUTURE]
        owners = {lease.owner for lease in tables.leases.values()}
        for worker, row in list(tables.workers.items()):
            if row.heartbeat_at < now - _TEN_MINUTES and worker not in owners:
                del tables.workers[worker]
        return Maintenance(0, ()) if retention is None else self._drop_days(now - retention)

    def _drop_days(self, before: float) -> Maintenance:
        server, dropped, blocking = self._server, 0, set[str]()
        days: dict[int, list[Any]] = {}
        for entry in server.log:
            days.setdefault(entry.row.day, []).append(entry)
        for entries in days.values():
            if max(entry.stored_at for entry in entries) // _DAY >= before // _DAY:
                continue
            if blockers := self._blockers(entries):
                blocking |= blockers
            else:
                self._drop(entries)
                dropped += len(entries)
        return Maintenance(dropped, tuple(sorted(blocking)))

    def _blockers(self, entries: list[Any]) -> set[str]:
        """Subscriptions of which a cursor does not show these events, or a delivery of them is not settled."""
        tables = self._server.tables
        ids, txids = {entry.row.id for entry in entries}, [entry.txid for entry in entries]
        found = {
            slice_.subscription
            for slice_, cursor in tables.cursors.items()
            if not all(map(snapshot(cursor.done).shows, txids))
        }
        found |= {
            row.slice.subscription for row in tables.deliveries.values() if row.row.id in ids and row.state in UNSETTLED
        }
        return {tables.subscriptions[one].record.name for one in found}

    def _drop(self, entries: list[Any]) -> None:
        server, tables = self._server, self._server.tables
        for row in tables.deliveries.values():
            if (entry := server.by_id.get(row.row.id)) is not None and entry in entries:
                row.row = entry.row  # a dead letter keeps its content
        for entry in entries:
            server.log.remove(entry)
            del server.by_id[entry.row.id]
        gone = {entry.row.id for entry in entries}
        tables.receipts = {known: row for known, row in tables.receipts.items() if known[1] not in gone}
        for row in [one for one in tables.deliveries.values() if one.row.id in gone and one.state == "discarded"]:
            tables.drop_delivery(row)
        kept = {row.row.id for row in tables.deliveries.values()}
        tables.attempts = [
            one for one in tables.attempts if one.attempt.event_id not in gone or one.attempt.event_id in kept
        ]
