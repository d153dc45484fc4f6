"""The file as the checker sees it: read with SQL when it has changed, in the shapes of the simulated server's tables."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.event import Row, to_micros
from holdfast.stores.sqlite.rows import MAX_POSITION
from holdfast.stores.values import Attempt, Slice, State, Subscription
from tests.simulation.server import Effect, Server, Tables
from tests.simulation.tables import AttemptRow, DeliveryRow, KnownSubscription, LeaseRow, LoggedEvent, ReceiptRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG = "select position, id, occurred_at, tenant_id, event_name, event_key, payload from event_log order by position"
_NOWHERE = -1  # an attempt is on record for its subscription, in no partition
_EFFECTS = "create table effects (subscription text, event_id blob, attempt integer, epoch integer)"


class FileServer(Server):
    """Read-only, but for the handlers' own table."""

    def __init__(self, path: str, clock: Callable[[], float], numbers: Iterator[int]) -> None:
        super().__init__(clock, numbers)
        self._file = sqlite3.connect(path, isolation_level=None, timeout=0.0)
        self._file.execute(_EFFECTS)
        self._version: int | None = None
        self._read = Tables()

    @property
    def tables(self) -> Tables:
        self._refresh()
        return self._read

    @tables.setter
    def tables(self, tables: Tables) -> None:
        self._read = tables

    def committed(self) -> Iterator[LoggedEvent]:
        self._refresh()
        return iter(self.log)

    def find(self, event_id: bytes) -> LoggedEvent | None:
        self._refresh()
        return self.by_id.get(event_id)

    def close(self) -> None:
        self._file.close()

    def _refresh(self) -> None:
        (version,) = self._file.execute("pragma data_version").fetchone()
        if version == self._version:
            return
        self._version = version
        self.log = [_logged(*found) for found in self._file.execute(_LOG)]
        self.by_id = {entry.row.id: entry for entry in self.log}
        self._read = self._tables()

    def _tables(self) -> Tables:
        tables, rows = Tables(), self._file.execute
        for found in rows("select id, name, partitions, ordering, on_dead, paused_at, start_horizon, start_position "
                          "from subscriptions"):  # fmt: skip
            tables.subscriptions[found[0]] = _known(*found)
        for subscription, partition, owner, until, ttl, epoch in rows(
            "select subscription, partition, owner, lease_until, ttl, epoch from leases"
        ):
            tables.leases[Slice(subscription, partition)] = LeaseRow(
                None if owner is None else UUID(owner), _seconds(until), ttl, epoch
            )
        for subscription, event_id, attempts in rows("select subscription, event_id, attempts from receipts"):
            tables.receipts[subscription, UUID(event_id).bytes] = ReceiptRow(attempts, 0.0)
        for number, subscription, partition, event_id, state, attempts in rows(
            "select id, subscription, partition, event_id, state, attempts from deliveries order by id"
        ):
            row = self.by_id[UUID(event_id).bytes].row
            one = DeliveryRow(number, Slice(subscription, partition), row, State(state), attempts)
            tables.deliveries[number] = tables.delivery_of[subscription, row.id] = one
        for subscription, event_id, *attempt in rows(
            "select subscription, event_id, attempt, outcome, error, message, traceback, seconds from attempts order by id"
        ):
            whose = Slice(subscription, _NOWHERE)
            tables.attempts.append(AttemptRow(Attempt(whose, UUID(event_id).bytes, 0, *attempt), 0.0))
        tables.effects = [Effect(*found) for found in rows("select * from effects")]
        return tables


def _logged(position: int, id_: str, at: str, tenant: str, name: str, key: str | None, payload: str) -> LoggedEvent:
    moment = to_micros(datetime.fromisoformat(at))
    fields: dict[str, Any] = {
        "position": position, "id": UUID(id_).bytes, "occurred_at": moment, "tenant_id": tenant, "name": name,
        "key": key, "payload": payload.encode(), "headers": None, "day": 0, "slot": 0,
    }  # fmt: skip
    return LoggedEvent(position, Row(**{name: fields[name] for name in Row._fields}), 0.0, position)


def _known(
    number: int, name: str, partitions: int, ordering: Any, on_dead: Any, paused: str | None, horizon: int, first: int
) -> KnownSubscription:
    fields: dict[str, Any] = {
        "id": number, "name": name, "patterns": (), "partitions": partitions, "ordering": ordering, "on_dead": on_dead,
        "replayable": True, "paused": paused is not None, "paused_tenants": frozenset(), "concurrency": None, "behind_retention": "hold",
    }  # fmt: skip
    record = Subscription(**{name: fields[name] for name in Subscription._fields})
    # A position is the number of its transaction too: one writer at a time.
    return KnownSubscription(record, f"{horizon + 1}:{horizon + 1}:", None if first >= MAX_POSITION else first)


def _seconds(moment: str | None) -> float:
    return 0.0 if moment is None else datetime.fromisoformat(moment).timestamp()
