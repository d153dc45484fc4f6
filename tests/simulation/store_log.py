"""Publishing into the simulated log, and what it knows of events."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.errors import InvalidEvent, NotInTransaction, TransactionError
from holdfast.event import EPOCH, Row, to_micros
from holdfast.names import SEGMENT
from holdfast.patterns import matches
from holdfast.stores.repeats import repeat
from holdfast.stores.values import Appended
from tests.simulation.server import UNSETTLED, Transaction
from tests.simulation.snapshots import snapshot
from tests.simulation.wire import Pause, at_once

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Sequence

    from holdfast.event import NewEvent
    from holdfast.stores.values import Declaration, Subscription
    from tests.simulation.server import Server
    from tests.simulation.tables import LoggedEvent
    from tests.simulation.wire import Wire

_NAME = re.compile(rf"{SEGMENT}(?:\.{SEGMENT})*")
_EPOCH_SECONDS = EPOCH.timestamp()
_DAY = 86_400


class Log:
    """The part of the simulated store that appends and looks up."""

    _server: Server
    _wire: Wire

    async def append(self, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
        return await self._wire.call("append", self._append(events, atomic=atomic))

    def _append(self, events: Sequence[NewEvent], *, atomic: bool) -> Generator[Pause, None, list[Appended]]:
        server, keys = self._server, _event_keys(events)
        while server.is_locked(keys):
            yield Pause.BLOCKED
        with server.begin(self._wire.client) as transaction:
            results = insert_events(transaction, events, atomic=atomic)
            yield Pause.WORK  # the statement is through, its commit on its way to the disk
            transaction.commit()
        return results

    async def stands(self, declarations: Sequence[Declaration]) -> bool:
        return True

    async def append_within(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        joined = _transaction_of(transaction)
        return await self._wire.call("append_within", self._append_within(joined, events))

    def append_within_sync(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        return self._wire.call_sync("append_within", self._append_within(_transaction_of(transaction), events))

    def _append_within(
        self, transaction: Transaction, events: Sequence[NewEvent]
    ) -> Generator[Pause, None, list[Appended]]:
        if not transaction.is_open:
            raise NotInTransaction("the transaction has ended")
        while self._server.is_locked(set(_event_keys(events)) - set(transaction.locks)):
            yield Pause.BLOCKED
        return insert_events(transaction, events, atomic=True)

    async def known(self, subscription: int, events: Sequence[tuple[bytes, int]]) -> set[bytes]:
        return await self._wire.call("known", at_once(self._known, subscription, [event_id for event_id, _ in events]))

    def _known(self, subscription: int, ids: Iterable[bytes]) -> set[bytes]:
        tables = self._server.tables
        return {
            one for one in ids if (subscription, one) in tables.receipts or (subscription, one) in tables.delivery_of
        }

    async def unsettled(self, subscriptions: Collection[int], horizon: str) -> dict[int, int]:
        return await self._wire.call("unsettled", at_once(self._unsettled, subscriptions, horizon))

    def _unsettled(self, subscriptions: Collection[int], horizon: str) -> dict[int, int]:
        tables, counts = self._server.tables, dict.fromkeys(subscriptions, 0)
        for subscription in counts:
            record = tables.subscriptions[subscription].record
            rows = [row for row in tables.deliveries.values() if row.slice.subscription == subscription]
            paused = record.paused_tenants
            counts[subscription] = sum(
                row.state in UNSETTLED and row.row.tenant_id not in paused for row in rows
            ) + sum(
                (subscription, entry.row.id) not in tables.receipts
                and (subscription, entry.row.id) not in tables.delivery_of
                and entry.row.tenant_id not in paused
                for entry in self._beyond_cursors(record, horizon)
            )
        return counts

    def _beyond_cursors(self, record: Subscription, horizon: str) -> Iterable[LoggedEvent]:
        """What the horizon shows and the persisted cursor of its partition does not settle."""
        for slice_, cursor in self._server.tables.cursors.items():
            if slice_.subscription != record.id:
                continue
            for entry in self._server.window(snapshot(cursor.done), snapshot(horizon)):
                row = entry.row
                passed = (
                    cursor.open is not None
                    and snapshot(cursor.open).shows(entry.txid)
                    and row.position < cursor.position
                )
                mine = row.slot % record.partitions == slice_.partition
                if mine and not passed and any(matches(pattern, row.name) for pattern in record.patterns):
                    yield entry

    async def caused_since(self, horizon: str) -> bool:
        return await self._wire.call("caused_since", at_once(self._caused_since, horizon))

    def _caused_since(self, horizon: str) -> bool:
        shown = snapshot(horizon).shows
        return any(
            not shown(entry.txid) and b"causation_id" in (entry.row.headers or b"")
            for entry in self._server.committed()
        )

    async def count_recent(self, tenant_id: str, seconds: float, limit: int) -> int:
        return await self._wire.call("count_recent", at_once(self._count_recent, tenant_id, seconds, limit))

    def _count_recent(self, tenant_id: str, seconds: float, limit: int) -> int:
        since = self._server.clock() - seconds - _EPOCH_SECONDS
        found = [
            entry
            for entry in self._server.committed()
            if entry.row.tenant_id == tenant_id and entry.row.occurred_at / 1e6 >= since
        ]
        return min(limit, len(found))


def _transaction_of(connection: Any) -> Transaction:
    transaction = getattr(connection, "transaction", None)
    if not isinstance(transaction, Transaction):
        raise TransactionError(f"a {type(connection).__name__} is no connection")
    return transaction


def insert_events(transaction: Transaction, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
    """Put events into the log, as one statement does; what is there already is left out and told."""
    server = transaction.server
    rows: list[Row] = []
    results: list[Appended] = []
    for event in events:
        check(event)
        known = server.by_id.get(event.id.bytes)
        if known is None:
            known_rows = [row for row in rows if row.id == event.id.bytes]
            results.append(repeat(event, _facts(known_rows[0])) if known_rows else Appended.STORED)
            if not known_rows:
                rows.append(new_row(server, event))
        else:
            results.append(repeat(event, _facts(known.row)))
    if atomic and Appended.CONFLICT in results:
        return results
    locked = set(transaction.locks)
    server.lock(transaction, [key for key in _event_keys(events) if key not in locked])
    for row in rows:
        transaction.insert(row)
    return results


def new_row(server: Server, event: NewEvent) -> Row:
    now = server.clock()
    micros = int((now - _EPOCH_SECONDS) * 1e6) if event.occurred_at is None else to_micros(event.occurred_at)
    return Row(
        server.next_position(), event.id.bytes, int((now - _EPOCH_SECONDS) // _DAY), slot_of(event), micros,
        event.tenant_id, event.name, event.key, event.payload, event.headers,
    )  # fmt: skip


def slot_of(event: NewEvent) -> int:
    hashed = event.id.bytes if event.key is None else f"{event.tenant_id}\0{event.key}".encode()
    return zlib.crc32(hashed) & 0x7FFF


def check(event: NewEvent) -> None:
    """What the table's constraints refuse."""
    if not _NAME.fullmatch(event.name):
        raise InvalidEvent("name", "breaks the constraint event_name_segments", "use segments joined by '.'")
    msgspec.json.decode(event.payload)


def _facts(row: Row) -> tuple[UUID, str, str, str | None, bytes]:
    return UUID(bytes=row.id), row.tenant_id, row.name, row.key, row.payload


def _event_keys(events: Sequence[NewEvent]) -> list[object]:
    return list(dict.fromkeys(("event", event.id.bytes) for event in events))
