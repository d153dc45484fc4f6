"""Subscriptions of the simulated store, and what operators do to them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from holdfast.errors import IncompatibleSubscription, NotFound
from holdfast.event import to_micros
from holdfast.stores.values import Cursor, Slice, State, Subscription
from tests.simulation.snapshots import NOTHING, snapshot
from tests.simulation.tables import DeliveryRow, KnownSubscription, LeaseRow
from tests.simulation.wire import Pause, at_once

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    from holdfast.stores.values import Declaration
    from tests.simulation.server import Server
    from tests.simulation.wire import Wire

_STARTED_AFRESH = frozenset({State.DEAD, State.DISCARDED})


class Subscriptions:
    """The part of the simulated store that keeps subscriptions."""

    _server: Server
    _wire: Wire

    async def subscriptions(self) -> list[Subscription]:
        return await self._wire.call("subscriptions", at_once(self._subscriptions))

    def _subscriptions(self) -> list[Subscription]:
        return [known.record for known in self._server.tables.subscriptions.values()]

    async def register(self, declarations: Sequence[Declaration]) -> list[Subscription]:
        return await self._wire.call("register", self._register(declarations))

    def _register(self, declarations: Sequence[Declaration]) -> Generator[Pause, None, list[Subscription]]:
        for declaration in declarations:
            if (known := self._named(declaration.name)) is not None:
                _check_compatible(known.record, declaration)
        for declaration in declarations:
            yield from self._register_one(declaration)
        names = {declaration.name for declaration in declarations}
        return [known.record for known in self._server.tables.subscriptions.values() if known.record.name in names]

    def _register_one(self, declaration: Declaration) -> Generator[Pause, None, None]:
        server, key = self._server, [("subscription", declaration.name)]
        while server.is_locked(key):
            yield Pause.BLOCKED
        with server.begin(self._wire.client) as transaction:
            server.lock(transaction, key)
            if (known := self._named(declaration.name)) is not None:
                _check_compatible(known.record, declaration)
                if (changed := _changed(known.record, declaration)) != known.record:
                    known.record = changed
                    server.tables.generation += 1
                transaction.commit()
                return
            added = self._new(declaration)
            transaction.id()
            yield Pause.WORK  # what commits from here on is not in the snapshot, and will be delivered
            transaction.write(lambda: self._add(added))
            transaction.commit()

    def _named(self, name: str) -> KnownSubscription | None:
        found = (known for known in self._server.tables.subscriptions.values() if known.record.name == name)
        return next(found, None)

    def _new(self, declaration: Declaration) -> KnownSubscription:
        record = Subscription(
            self._server.next_subscription(), declaration.name, declaration.patterns, declaration.partitions,
            declaration.ordering, declaration.on_dead, declaration.replayable, paused=False,
            behind_retention=declaration.behind_retention,
        )  # fmt: skip
        return KnownSubscription(record, self._server.snapshot(), self._start_position(declaration))

    def _start_position(self, declaration: Declaration) -> int | None:
        rows = [entry.row for entry in self._server.committed()]
        start = declaration.start
        if start == "now":
            return None
        if start == "beginning":
            return 0
        if isinstance(start, datetime):
            return min((row.position for row in rows if row.occurred_at >= to_micros(start)), default=None)
        assert isinstance(start, UUID)
        for row in rows:
            if row.id == start.bytes:
                return row.position
        raise NotFound(f"subscription {declaration.name!r} wants to start from event {start}, which is not stored")

    def _add(self, known: KnownSubscription) -> None:
        tables, record = self._server.tables, known.record
        tables.subscriptions[record.id] = known
        start = Cursor(known.snapshot) if known.position is None else Cursor(NOTHING, known.snapshot, known.position)
        for partition in range(record.partitions):
            tables.leases[Slice(record.id, partition)] = LeaseRow()
            tables.cursors[Slice(record.id, partition)] = start
        tables.generation += 1
        self._server.note("registered", known)

    # What operators do

    async def pause(self, name: str, *, paused: bool, tenant_id: str | None = None) -> None:
        await self._wire.call("pause", at_once(self._pause, name, paused, tenant_id))

    def _pause(self, name: str, paused: bool, tenant_id: str | None) -> None:
        if (known := self._named(name)) is None:
            return
        record = known.record
        if tenant_id is None:
            known.record = record._replace(paused=paused)
        else:
            others = record.paused_tenants - {tenant_id}
            known.record = record._replace(paused_tenants=others | {tenant_id} if paused else others)
        self._server.tables.generation += 1
        self._server.note("paused" if paused else "resumed", name if tenant_id is None else (name, tenant_id))

    async def retry_dead(self, name: str) -> int:
        """Give the dead letters of a subscription fresh attempts; how many."""
        return await self._wire.call("retry_dead", at_once(self._retry_dead, name))

    def _retry_dead(self, name: str) -> int:
        known, tables = self._named(name), self._server.tables
        found = [
            row for row in tables.deliveries.values()
            if known is not None and row.slice.subscription == known.record.id and row.state is State.DEAD
        ]  # fmt: skip
        for row in found:
            row.state, row.attempts, row.put_offs, row.due_at = State.PENDING, 0, 0, self._server.clock()
            self._server.note("retried", (name, row.row.id))
        tables.generation += bool(found)
        return len(found)

    async def replay(self, name: str, ids: Collection[bytes]) -> int:
        """Hand events of the log to a subscription once more; how many."""
        return await self._wire.call("replay", at_once(self._replay, name, ids))

    def _replay(self, name: str, ids: Collection[bytes]) -> int:
        server, tables, known = self._server, self._server.tables, self._named(name)
        assert known is not None
        rows = sorted(entry.row for one in ids if (entry := server.find(one)) is not None)
        for row in rows:
            slice_ = Slice(known.record.id, row.slot % known.record.partitions)
            there = tables.delivery_of.get((known.record.id, row.id))
            if there is None:
                bare = row._replace(payload=b"", headers=None)
                there = DeliveryRow(
                    server.next_delivery(), slice_, bare, State.PENDING, due_at=server.clock(), replay=1
                )
                tables.deliveries[there.id] = tables.delivery_of[known.record.id, row.id] = there
            elif there.state in _STARTED_AFRESH:
                there.state, there.attempts, there.put_offs, there.replay = State.PENDING, 0, 0, 1
                there.due_at, there.reason = server.clock(), None
            else:
                continue
            server.note("replayed", (name, row.id))
        tables.generation += bool(rows)
        return len(rows)


def is_wanted(known: KnownSubscription, txid: int, position: int) -> bool:
    """Whether an event came after the subscription's start: the registration's snapshot decides."""
    if not snapshot(known.snapshot).shows(txid):
        return True
    return known.position is not None and position >= known.position


def _check_compatible(known: Subscription, declaration: Declaration) -> None:
    if known.partitions != declaration.partitions:
        raise IncompatibleSubscription(
            known.name, "partitions", known.partitions, declaration.partitions, f"keep partitions={known.partitions}"
        )


def _changed(known: Subscription, declaration: Declaration) -> Subscription:
    return known._replace(
        patterns=declaration.patterns, ordering=declaration.ordering, on_dead=declaration.on_dead,
        replayable=declaration.replayable, behind_retention=declaration.behind_retention,
    )  # fmt: skip
