"""Heartbeats, leases and cursors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.stores.deferring import decode, encode
from holdfast.stores.sqlite.rows import cursor_of, json_text, leases_json, slices_json
from holdfast.stores.values import Advance, Lease, LeaseState, Roster, Slice, WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread
    from holdfast.stores.values import Place, Released


class Leasing:
    """The part of the SQLite store that keeps owners and their places."""

    _writer: SessionThread
    _lookup: SessionThread

    async def heartbeat(self, worker: WorkerInfo, *, ttl: float) -> Roster:
        return await self._writer.run(heartbeat, worker, ttl)

    async def acquire(
        self, worker: UUID, wanted: Mapping[int, int], *, ttl: float, dead: Collection[UUID] = (), patient: bool = False
    ) -> list[Lease]:
        return await self._writer.run(acquire, worker, wanted, ttl, dead, patient)

    async def renew(self, worker: UUID, leases: Mapping[Slice, int], *, ttl: float) -> set[Slice]:
        return await self._writer.run(renew, worker, leases, ttl)

    async def release(self, worker: UUID, released: Sequence[Released]) -> None:
        await self._writer.run(release, worker, released)

    async def mark_fast(self, worker: UUID, leases: Mapping[Slice, int]) -> None:
        await self._writer.run(mark_fast, worker, leases)

    async def leave(self, worker: UUID) -> None:
        await self._writer.run(leave, worker)

    async def places(self, slices: Collection[Slice]) -> dict[Slice, Place]:
        return await self._lookup.run(places, slices)


def heartbeat(session: Session, worker: WorkerInfo, ttl: float) -> Roster:
    subscriptions = json_text(worker.subscriptions)
    with session.write():
        session.count(
            "heartbeat",
            {
                "id": str(worker.id), "host": worker.host, "boot_id": worker.boot_id, "pid": worker.pid,
                "pid_started": worker.pid_started, "version": worker.version, "subscriptions": subscriptions,
                "draining": worker.draining, "tripped": json_text(worker.tripped), "now": session.now(),
                "retention": worker.retention, "retention_warning": worker.retention_warning,
            },
        )  # fmt: skip
        workers = session.rows("live_workers", since=session.now(-ttl), absurd=session.now(2 * ttl))
        leases = session.rows("lease_states", subscriptions=subscriptions, now=session.now())
    return Roster(
        tuple(_worker(row) for row in workers),
        tuple(
            LeaseState(Slice(subscription, partition), None if owner is None else UUID(owner), bool(free))
            for subscription, partition, owner, free in leases
        ),
    )


def _worker(row: Sequence[Any]) -> WorkerInfo:
    worker, host, boot_id, pid, pid_started, version, subscriptions, draining = row
    running = tuple(msgspec.json.decode(subscriptions))
    return WorkerInfo(UUID(worker), host, boot_id, pid, pid_started, version, running, bool(draining))


def acquire(
    session: Session, worker: UUID, wanted: Mapping[int, int], ttl: float, dead: Collection[UUID], patient: bool
) -> list[Lease]:
    owner, gone = str(worker), json_text([str(one) for one in dead])
    taken = []
    with session.write():
        for subscription, count in sorted(wanted.items()):
            free = session.rows(
                "free_leases", subscription=subscription, count=max(count, 0), dead=gone,
                patient=patient, now=session.now(),
            )  # fmt: skip
            taken += [_lease(row) for row in free]
        until = session.now(ttl)
        session.each(
            "acquire",
            [
                {
                    "worker": owner, "until": until, "ttl": ttl, "epoch": lease.epoch, "crashes": lease.crashes,
                    "subscription": lease.slice.subscription, "partition": lease.slice.partition,
                }
                for lease in taken
            ],
        )  # fmt: skip
    return taken


def _lease(row: Sequence[Any]) -> Lease:
    """The lease as it will be once this worker has it."""
    subscription, partition, epoch, clean, lost, crashes, *cursor, deferred = row
    place = decode(cursor_of(*cursor), deferred)
    return Lease(
        Slice(subscription, partition), epoch + 1, place.cursor, bool(clean), bool(lost), crashes + lost, place.deferred
    )


def renew(session: Session, worker: UUID, leases: Mapping[Slice, int], ttl: float) -> set[Slice]:
    with session.write():
        rows = session.rows("renew", worker=str(worker), leases=leases_json(leases), until=session.now(ttl), ttl=ttl)
    return {Slice(*row) for row in rows}


def release(session: Session, worker: UUID, released: Sequence[Released]) -> None:
    with session.write():
        for one in released:
            place = {"subscription": one.slice.subscription, "partition": one.slice.partition}
            state = {"worker": str(worker), "epoch": one.epoch, "clean": one.exact, "lost": one.lost}
            if session.count("release", place | state | {"now": session.now()}):
                advance = Advance(one.slice, one.cursor, place=one.place)
                session.count("settle_advances", advance_parameters(advance, session.now()))


def mark_fast(session: Session, worker: UUID, leases: Mapping[Slice, int]) -> None:
    with session.write():
        session.count("mark_fast", {"worker": str(worker), "leases": leases_json(leases)})


def leave(session: Session, worker: UUID) -> None:
    with session.write():
        session.count("leave", {"worker": str(worker)})
        session.count("leave_leases", {"worker": str(worker), "now": session.now()})


def places(session: Session, slices: Collection[Slice]) -> dict[Slice, Place]:
    rows = session.rows("cursors", slices=slices_json(slices))
    return {Slice(*row[:2]): decode(cursor_of(*row[2:5]), row[5]) for row in rows}


def advance_parameters(advance: Advance, now: str) -> dict[str, Any]:
    cursor = advance.cursor
    return {
        "subscription": advance.slice.subscription,
        "partition": advance.slice.partition,
        "done": int(cursor.done),
        "open": None if cursor.open is None else int(cursor.open),
        "position": cursor.position,
        "deferred": encode(cursor, advance.place),
        "now": now,
    }


def held(session: Session, epochs: Mapping[Slice, int]) -> set[Slice]:
    """The fence: those of the leases that still have the epoch. To be asked inside a write transaction."""
    return {Slice(*row) for row in session.rows("fence", leases=leases_json(epochs))} if epochs else set()
