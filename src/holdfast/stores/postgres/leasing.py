"""Heartbeats, leases and cursors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.stores.deferring import decode, encode
from holdfast.stores.postgres.session import fence_parameters, slice_parameters
from holdfast.stores.values import Advance, Cursor, Lease, LeaseState, Roster, Slice, WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from holdfast.stores.postgres.session import Session
    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Place, Released


class Leasing:
    """The part of the PostgreSQL store that keeps owners and their places."""

    _statements: Statements
    _lease: Session
    _settle: Session

    async def heartbeat(self, worker: WorkerInfo, *, ttl: float) -> Roster:
        _, workers, leases = await self._lease.run_many(
            [
                (
                    self._statements["heartbeat"],
                    {
                        "id": worker.id, "host": worker.host, "boot_id": worker.boot_id, "pid": worker.pid,
                        "pid_started": worker.pid_started, "version": worker.version,
                        "subscriptions": list(worker.subscriptions), "draining": worker.draining,
                        "tripped": list(worker.tripped), "retention": worker.retention,
                        "retention_warning": worker.retention_warning,
                    },
                ),
                (self._statements["live_workers"], {"ttl": ttl}),
                (self._statements["lease_states"], {"subscriptions": list(worker.subscriptions)}),
            ]
        )  # fmt: skip
        owners = {owner: UUID(bytes=owner) for owner in {row[2] for row in leases} if owner is not None}
        return Roster(
            tuple(
                WorkerInfo(UUID(bytes=known), host, boot_id, pid, started, version, tuple(subscriptions), draining)
                for known, host, boot_id, pid, started, version, subscriptions, draining in workers
            ),
            tuple(
                LeaseState(Slice(subscription, partition), owners.get(owner), free)
                for subscription, partition, owner, free in leases
            ),
        )

    async def acquire(
        self, worker: UUID, wanted: Mapping[int, int], *, ttl: float, dead: Collection[UUID] = (), patient: bool = False
    ) -> list[Lease]:
        ordered = sorted((subscription, count) for subscription, count in wanted.items() if count > 0)
        rows = await self._lease.run(
            self._statements["acquire"],
            {
                "worker": worker,
                "ttl": float(ttl),
                "dead": list(dead),
                "patient": patient,
                "subscriptions": [subscription for subscription, _ in ordered],
                "counts": [count for _, count in ordered],
            },
        )
        # The places are read by a later statement: whoever released them has committed by then.
        places = await self.places([Slice(*row[:2]) for row in rows])
        return [
            Lease(where, epoch, places[where].cursor, clean, lost, crashes, places[where].deferred)
            for where, epoch, clean, lost, crashes in sorted((Slice(*row[:2]), *row[2:]) for row in rows)
        ]

    async def renew(self, worker: UUID, leases: Mapping[Slice, int], *, ttl: float) -> set[Slice]:
        parameters = {"worker": worker, "ttl": float(ttl)} | fence_parameters(leases)
        return {Slice(*row) for row in await self._lease.run(self._statements["renew"], parameters)}

    async def release(self, worker: UUID, released: Sequence[Released]) -> None:
        ordered = sorted(released)
        parameters: dict[str, Any] = fence_parameters({one.slice: one.epoch for one in ordered})
        parameters |= {
            "worker": worker,
            "exacts": [one.exact for one in ordered],
            "losts": [one.lost for one in ordered],
            "incarnations": [one.incarnation for one in ordered],
        }
        async with self._settle.transaction() as connection:
            cursor = await connection.execute(self._statements["release"], parameters)
            returned = {Slice(*row) for row in await cursor.fetchall()}
            if places := [
                Advance(one.slice, one.cursor, one.incarnation, one.place) for one in ordered if one.slice in returned
            ]:
                await connection.execute(self._statements["settle_advances"], advance_parameters(places))

    async def mark_fast(self, worker: UUID, leases: Mapping[Slice, int]) -> None:
        parameters: dict[str, Any] = {**fence_parameters(leases), "worker": worker}
        await self._lease.run(self._statements["mark_fast"], parameters)

    async def leave(self, worker: UUID) -> None:
        mine = {"worker": worker}
        await self._lease.run_many([(self._statements[name], mine) for name in ("leave_leases", "leave")])

    async def places(self, slices: Collection[Slice]) -> dict[Slice, Place]:
        rows = await self._lease.run(self._statements["cursors"], slice_parameters(slices))
        return {Slice(*row[:2]): decode(Cursor(*row[2:5]), row[5]) for row in rows}


def advance_parameters(advances: Iterable[Advance]) -> dict[str, list[object]]:
    """The arrays by which cursors are written, in key order; of one slice the latest counts."""
    ordered = sorted({one.slice: one for one in advances}.values())
    return {
        "subscriptions": [one.slice.subscription for one in ordered],
        "partitions": [one.slice.partition for one in ordered],
        "dones": [one.cursor.done for one in ordered],
        "opens": [one.cursor.open for one in ordered],
        "positions": [one.cursor.position for one in ordered],
        "deferred": [encode(one.cursor, one.place) for one in ordered],
        "incarnations": [one.incarnation for one in ordered],
    }
