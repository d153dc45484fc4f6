"""Delivery rows of the simulated store: what is off the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import LeaseLost
from holdfast.stores.values import Claim, Due, State
from tests.simulation.server import UNSETTLED
from tests.simulation.tables import DeliveryRow
from tests.simulation.wire import Pause, at_once

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence

    from holdfast.event import Row
    from holdfast.stores.values import Slice
    from tests.simulation.server import Server, Transaction
    from tests.simulation.wire import Wire

_WAITING = frozenset({State.PENDING, State.RETRYING})


class Deliveries:
    """The part of the simulated store that hands out what failed, waits or was in a lost worker's hands."""

    _server: Server
    _wire: Wire

    async def blocked_keys(self, slices: Collection[Slice]) -> dict[Slice, dict[tuple[str, str], int]]:
        return await self._wire.call("blocked_keys", at_once(self._blocked_keys, slices))

    def _blocked_keys(self, slices: Collection[Slice]) -> dict[Slice, dict[tuple[str, str], int]]:
        blocked: dict[Slice, dict[tuple[str, str], int]] = {slice_: {} for slice_ in slices}
        for row in self._server.tables.deliveries.values():
            if row.slice in blocked and row.key is not None and self._is_ordered(row) and self._blocks(row):
                counts, key = blocked[row.slice], row.key[1:]
                counts[key] = counts.get(key, 0) + 1
        return blocked

    def _is_ordered(self, row: DeliveryRow) -> bool:
        return self._server.tables.subscriptions[row.slice.subscription].record.ordering == "key"

    def _blocks(self, row: DeliveryRow) -> bool:
        return row.state in UNSETTLED or (row.state is State.DEAD and self._holds(row))

    def _holds(self, row: DeliveryRow) -> bool:
        return self._server.tables.subscriptions[row.slice.subscription].record.on_dead == "hold"

    async def claim(self, leases: Mapping[Slice, int], *, limit: int) -> Claim:
        return await self._wire.call("claim", self._claim(leases, limit))

    def _claim(self, leases: Mapping[Slice, int], limit: int) -> Generator[Pause, None, Claim]:
        tables, now = self._server.tables, self._server.clock()
        held = {one for one, epoch in leases.items() if tables.is_held(one, epoch)}
        ready = [row for row in self._in_order() if row.slice in held and self._is_ready(row, now)][:limit]
        for row in ready:
            row.state, row.claim = State.RUNNING, row.claim + 1
        yield Pause.ROUND_TRIP
        waiting = [
            row.due_at
            for row in self._in_order()
            if row.slice in leases and row.state is State.RETRYING and not self._is_paused(row)
        ]
        next_in = min(waiting) - self._server.clock() if waiting else None
        return Claim([self._due(row) for row in ready], next_in, tables.generation)

    def _in_order(self) -> list[DeliveryRow]:
        return [row for _, row in sorted(self._server.tables.deliveries.items())]

    def _is_ready(self, row: DeliveryRow, now: float) -> bool:
        if row.state not in _WAITING or row.due_at > now or self._is_paused(row):
            return False
        if row.key is None or not self._is_ordered(row):
            return True
        return not any(
            before.id < row.id and before.key == row.key and self._is_in_the_way(before, now)
            for before in self._server.tables.deliveries.values()
        )

    def _is_paused(self, row: DeliveryRow) -> bool:
        return row.row.tenant_id in self._server.tables.subscriptions[row.slice.subscription].record.paused_tenants

    def _is_in_the_way(self, row: DeliveryRow, now: float) -> bool:
        return (
            row.state is State.RUNNING
            or (row.state in _WAITING and row.due_at > now)
            or (row.state is State.DEAD and self._holds(row))
        )

    def _due(self, row: DeliveryRow, *, lost: bool = False, behind: bool = False) -> Due:
        is_replay = row.replay is not None
        handled = not is_replay and (row.slice.subscription, row.row.id) in self._server.tables.receipts
        content = row.row
        if (entry := self._server.find(row.row.id)) is not None:
            content = entry.row
        return Due(row.id, row.slice, content, row.claim, row.attempts, row.put_offs, is_replay, handled, lost, behind)

    async def suspects(self, slices: Collection[Slice]) -> list[Due]:
        return await self._wire.call("suspects", at_once(self._suspects, set(slices)))

    def _suspects(self, slices: set[Slice]) -> list[Due]:
        found = [row for row in self._in_order() if row.slice in slices and row.state is State.RUNNING]
        return [
            self._due(
                row, lost=row.attempts > 0 and row.attempts != self._latest_counted(row), behind=self._is_behind(row)
            )
            for row in found
        ]  # fmt: skip

    def _is_behind(self, row: DeliveryRow) -> bool:
        return row.key is not None and self._is_ordered(row) and any(
            before.id < row.id and before.key == row.key
            and (before.state in _WAITING or (before.state is State.DEAD and self._holds(before)))
            for before in self._server.tables.deliveries.values()
        )  # fmt: skip

    def _latest_counted(self, row: DeliveryRow) -> int | None:
        for known in reversed(self._server.tables.attempts):
            attempt = known.attempt
            is_its_own = (attempt.slice.subscription, attempt.event_id) == (row.slice.subscription, row.row.id)
            if is_its_own and attempt.outcome != "put off":
                return attempt.attempt
        return None

    async def take_in(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> list[Due]:
        return await self._wire.call("take_in", self._take_in(lease, epoch, rows))

    def _take_in(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> Generator[Pause, None, list[Due]]:
        with self._server.begin(self._wire.client) as transaction:
            self._require(transaction, lease, epoch)
            yield Pause.ROUND_TRIP
            yield Pause.ROUND_TRIP  # the commit is a message of its own
            transaction.write(lambda: self._add_running(lease, epoch, rows))
            transaction.commit()
        delivery_of = self._server.tables.delivery_of
        found = [delivery_of.get((lease.subscription, row.id)) for row in rows]
        return [
            self._due(one)._replace(row=row)
            for row, one in zip(rows, found, strict=True)
            if one is not None and one.state is State.RUNNING
        ]

    def _add_running(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> None:
        self._server.note("taken in", (lease.subscription, [row.id for row in rows]))
        for row in rows:
            if (lease.subscription, row.id) not in self._server.tables.delivery_of:
                self.add_delivery(
                    DeliveryRow(0, lease, row, State.RUNNING, due_at=self._server.clock(), claim=1), epoch
                )

    def add_delivery(self, row: DeliveryRow, epoch: int) -> None:
        tables = self._server.tables
        row.id = self._server.next_delivery()
        row.row = row.row._replace(payload=b"", headers=None)  # the content stays in the log
        tables.deliveries[row.id] = tables.delivery_of[row.slice.subscription, row.row.id] = row
        self.note_delivery(row, epoch)

    def note_delivery(self, row: DeliveryRow, epoch: int) -> None:
        """Tell the checker who wrote a delivery row, under which epoch, and which one stood."""
        stood = self._server.tables.leases[row.slice].epoch
        self._server.note("delivery", (row.slice, row.row.id, row.state, row.attempts, epoch, stood))

    async def begin_attempt(self, due: Due, epoch: int) -> Due | None:
        return await self._wire.call("begin_attempt", self._begin_attempt(due, epoch))

    def _begin_attempt(self, due: Due, epoch: int) -> Generator[Pause, None, Due | None]:
        with self._server.begin(self._wire.client) as transaction:
            self._require(transaction, due.slice, epoch)
            yield Pause.ROUND_TRIP
            row = self._server.tables.deliveries.get(due.delivery)
            if row is None or row.state is not State.RUNNING:
                return None
            yield Pause.ROUND_TRIP
            row.attempts, row.claim = row.attempts + 1, row.claim + 1
            self.note_delivery(row, epoch)
            self._server.note("counted", (self._wire.client, due.slice.subscription, row.row.id))
            transaction.commit()
            return due._replace(attempts=row.attempts - 1, claim=row.claim, handled=self._due(row).handled)

    def _require(self, transaction: Transaction, lease: Slice, epoch: int) -> None:
        if not transaction.fence({lease: epoch}):
            self._server.note("fenced", (lease, epoch))
            raise LeaseLost(str(lease.subscription), lease.partition, epoch)
