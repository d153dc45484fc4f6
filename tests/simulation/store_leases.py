"""Heartbeats, leases and cursors of the simulated store, by the server's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from holdfast.stores.values import Advance, Cursor, Lease, LeaseState, Place, Roster, Slice
from tests.simulation.tables import LeaseRow, WorkerRow
from tests.simulation.wire import Pause, at_once

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
    from uuid import UUID

    from holdfast.stores.values import Released, WorkerInfo
    from tests.simulation.server import Server
    from tests.simulation.wire import Wire


class Acquired(NamedTuple):
    """For the checker: when a partition changed hands, and how its owner before left it."""

    slice: Slice
    epoch: int
    worker: UUID
    lost: bool
    expired: bool


class Leasing:
    """The part of the simulated store that keeps owners and their places."""

    _server: Server
    _wire: Wire

    async def heartbeat(self, worker: WorkerInfo, *, ttl: float) -> Roster:
        return await self._wire.call("heartbeat", at_once(self._heartbeat, worker, ttl))

    def _heartbeat(self, worker: WorkerInfo, ttl: float) -> Roster:
        tables, now = self._server.tables, self._server.clock()
        tables.workers[worker.id] = WorkerRow(worker, now)
        living = [row.info for row in tables.workers.values() if now - ttl < row.heartbeat_at < now + 2 * ttl]
        return Roster(
            tuple(sorted(living, key=lambda info: info.id)),
            tuple(
                LeaseState(slice_, row.owner, row.owner is None or is_over(row, now))
                for slice_, row in sorted(tables.leases.items())
                if slice_.subscription in worker.subscriptions
            ),
        )

    async def acquire(
        self, worker: UUID, wanted: Mapping[int, int], *, ttl: float, dead: Collection[UUID] = (), patient: bool = False
    ) -> list[Lease]:
        return await self._wire.call("acquire", self._acquire(worker, wanted, ttl, dead, patient))

    def _acquire(
        self, worker: UUID, wanted: Mapping[int, int], ttl: float, dead: Collection[UUID], patient: bool
    ) -> Generator[Pause, None, list[Lease]]:
        taken = [
            self._take(slice_, worker, ttl)
            for subscription, count in sorted(wanted.items())
            for slice_ in self._free(subscription, dead, patient)[: max(count, 0)]
        ]
        yield Pause.ROUND_TRIP
        # The places are read by a later statement: whoever released them has committed by then.
        places = self._places(lease.slice for lease in taken)
        return [lease._replace(**places[lease.slice]._asdict()) for lease in taken]

    def _free(self, subscription: int, dead: Collection[UUID], patient: bool) -> list[Slice]:
        """Nobody's, a dead process's, or, unless patient, expired; what somebody settles just now is skipped."""
        now, server = self._server.clock(), self._server
        return [
            slice_
            for slice_, row in sorted(server.tables.leases.items())
            if slice_.subscription == subscription
            and (row.owner is None or row.owner in dead or (not patient and is_over(row, now)))
            and not server.is_lease_locked(slice_)
        ]

    def _take(self, slice_: Slice, worker: UUID, ttl: float) -> Lease:
        row, now = self._server.tables.leases[slice_], self._server.clock()
        clean, lost, expired = row.clean, row.owner is not None, is_over(row, now)
        row.owner, row.epoch, row.clean, row.until, row.ttl = worker, row.epoch + 1, False, now + ttl, ttl
        row.crashes += lost
        self._server.note("acquired", Acquired(slice_, row.epoch, worker, lost, expired))
        return Lease(slice_, row.epoch, Cursor(""), clean, lost, row.crashes)

    async def renew(self, worker: UUID, leases: Mapping[Slice, int], *, ttl: float) -> set[Slice]:
        return await self._wire.call("renew", at_once(self._renew, worker, leases, ttl))

    def _renew(self, worker: UUID, leases: Mapping[Slice, int], ttl: float) -> set[Slice]:
        mine, now = self._mine(worker, leases), self._server.clock()
        for slice_ in mine:
            row = self._server.tables.leases[slice_]
            row.until, row.ttl = now + ttl, ttl
        return set(mine)

    def _mine(self, worker: UUID, epochs: Mapping[Slice, int]) -> list[Slice]:
        leases = self._server.tables.leases
        return [
            slice_
            for slice_, epoch in sorted(epochs.items())
            if (row := leases.get(slice_)) is not None and (row.owner, row.epoch) == (worker, epoch)
        ]

    async def release(self, worker: UUID, released: Sequence[Released]) -> None:
        await self._wire.call("release", self._release(worker, released))

    def _release(self, worker: UUID, released: Sequence[Released]) -> Generator[Pause, None, None]:
        server = self._server
        while any(server.is_lease_locked(one.slice) for one in released):
            yield Pause.BLOCKED
        mine = set(self._mine(worker, {one.slice: one.epoch for one in released}))
        server.flush()
        for one in released:
            if one.slice in mine:
                self._let_go(server.tables.leases[one.slice], one)
                self.advance(Advance(one.slice, one.cursor, one.incarnation, one.place))
                server.note("released", (one.slice, one.epoch))

    def _let_go(self, row: LeaseRow, one: Released) -> None:
        exact = one.exact and self._is_current(one.incarnation)
        row.clean = exact and not one.lost
        row.crashes = max(row.crashes - 1, 0) if one.lost else 0
        if one.lost:
            row.until = self._server.clock()  # it keeps an owner whose time is over: there is something to recover
        else:
            row.owner = None

    async def mark_fast(self, worker: UUID, leases: Mapping[Slice, int]) -> None:
        await self._wire.call("mark_fast", at_once(self._going_fast, worker, leases))

    def _going_fast(self, worker: UUID, leases: Mapping[Slice, int]) -> None:
        for slice_ in self._mine(worker, leases):
            self._server.tables.leases[slice_].crashes = 0

    async def leave(self, worker: UUID) -> None:
        await self._wire.call("leave", self._leave(worker))

    def _leave(self, worker: UUID) -> Generator[Pause, None, None]:
        server = self._server
        now, leases = server.clock(), server.tables.leases
        unknown = [slice_ for slice_, row in sorted(leases.items()) if row.owner == worker and row.until > now]
        while any(server.is_lease_locked(one) for one in unknown):
            yield Pause.BLOCKED
        server.tables.workers.pop(worker, None)
        for row in (leases[one] for one in unknown if leases[one].owner == worker):
            if row.crashes > 0:
                row.until = now
            else:
                row.owner = None
            row.crashes = max(row.crashes - 1, 0)

    async def places(self, slices: Collection[Slice]) -> dict[Slice, Place]:
        return await self._wire.call("places", at_once(self._places, slices))

    def _places(self, slices: Iterable[Slice]) -> dict[Slice, Place]:
        tables = self._server.tables
        return {
            slice_: tables.deferred.get(slice_) or Place(tables.cursors[slice_])
            for slice_ in sorted(slices)
            if slice_ in tables.cursors
        }

    def _is_current(self, incarnation: str | None) -> bool:
        return incarnation is None or incarnation == str(self._server.incarnation)

    def advance(self, advance: Advance) -> None:
        """
        A cursor is written in the incarnation that it was read in, or not at all. While tenants are deferred, the places
        are kept beside it.
        """
        tables = self._server.tables
        if not self._is_current(advance.incarnation) or advance.slice not in tables.cursors:
            return
        tables.cursors[advance.slice] = advance.cursor
        tables.deferred.pop(advance.slice, None)
        if advance.place is not None:
            tables.deferred[advance.slice] = advance.place
            self._server.note("deferred", advance.slice)


def is_over(row: LeaseRow, now: float) -> bool:
    """Expired, or so far ahead that the clock must have stepped back."""
    return row.until <= now or row.until > now + 2 * row.ttl
