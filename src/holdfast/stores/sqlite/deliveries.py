"""Delivery rows: what is off the fast path, claimed and taken in by the partition's owner."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import LeaseLost
from holdfast.stores.claiming import prefixes
from holdfast.stores.sqlite.leasing import held
from holdfast.stores.sqlite.reader import log_state
from holdfast.stores.sqlite.rows import id_bytes, id_text, json_text, row_of, slices_json
from holdfast.stores.sqlite.settling import parked_parameters
from holdfast.stores.values import Claim, Due, Parked, Slice, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from holdfast.event import Row
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread


class Deliveries:
    """The part of the SQLite store that keeps delivery rows, and answers what is known of events."""

    _writer: SessionThread
    _lookup: SessionThread

    async def known(self, subscription: int, events: Sequence[tuple[bytes, int]]) -> set[bytes]:
        return await self._lookup.run(known, subscription, events)

    async def blocked_keys(self, slices: Collection[Slice]) -> dict[Slice, dict[tuple[str, str], int]]:
        return await self._lookup.run(blocked_keys, slices)

    async def claim(self, leases: Mapping[Slice, int], *, limit: int) -> Claim:
        return await self._writer.run(claim, leases, limit)

    async def suspects(self, slices: Collection[Slice]) -> list[Due]:
        return await self._lookup.run(suspects, slices)

    async def take_in(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> list[Due]:
        return await self._writer.run(take_in, lease, epoch, rows)

    async def begin_attempt(self, due: Due, epoch: int) -> Due | None:
        return await self._writer.run(begin_attempt, due, epoch)

    async def unsettled(self, subscriptions: Collection[int], horizon: str) -> dict[int, int]:
        return await self._lookup.run(unsettled, subscriptions, horizon)

    async def caused_since(self, horizon: str) -> bool:
        return await self._lookup.run(caused_since, horizon)

    async def count_recent(self, tenant_id: str, seconds: float, limit: int) -> int:
        return await self._lookup.run(count_recent, tenant_id, seconds, limit)


def known(session: Session, subscription: int, events: Sequence[tuple[bytes, int]]) -> set[bytes]:
    ids = json_text([id_text(event_id) for event_id, _ in events])
    return {id_bytes(found) for (found,) in session.rows("known", subscription=subscription, ids=ids)}


def blocked_keys(session: Session, slices: Collection[Slice]) -> dict[Slice, dict[tuple[str, str], int]]:
    blocked: dict[Slice, dict[tuple[str, str], int]] = {one: {} for one in slices}
    for subscription, partition, tenant_id, key, count in session.rows("blocked_keys", slices=slices_json(slices)):
        blocked[Slice(subscription, partition)][tenant_id, key] = count
    return blocked


def claim(session: Session, leases: Mapping[Slice, int], limit: int) -> Claim:
    claimed: list[Due] = []
    now = session.now()  # one moment for all: what falls due between two of them would be neither taken nor announced
    # Looked up first without the write lock, which an idle worker leaves to others.
    if _claimable(session, leases, limit, now):
        with session.write():
            ids = json_text(_claimable(session, held(session, leases), limit, now))
            session.count("mark_running", {"ids": ids, "now": now})
            claimed = [_as_due(row) for row in session.rows("claim", ids=ids)]
    _, generation = log_state(session)
    return Claim(claimed, _next_in(session, leases, now), generation)


def _claimable(session: Session, slices: Iterable[Slice], limit: int, now: str) -> list[int]:
    """Ids of what may run now, the lowest first."""
    found: list[int] = []
    for subscription, partitions in _partitions(slices).items():
        for prefix in prefixes():
            bounds = {"subscription": subscription, "partitions": partitions, "limit": limit, "prefix": prefix}
            ((ids, has_more),) = session.rows("claimable", now=now, **bounds)
            ready = msgspec.json.decode(ids)
            if len(ready) == limit or not has_more:
                break
        found += ready
    return sorted(found)[:limit]


def _next_in(session: Session, slices: Iterable[Slice], now: str) -> float | None:
    times = [
        moment
        for subscription, partitions in _partitions(slices).items()
        for (moment,) in session.rows("next_due", subscription=subscription, partitions=partitions, now=now)
        if moment is not None
    ]
    return max(0.0, session.seconds_until(min(times))) if times else None


def waits(session: Session, slices: Collection[Slice]) -> float | None:
    """Seconds until the next delivery row of these falls due; None where one may run now, and where there is none."""
    now = session.now()
    return None if _claimable(session, slices, 1, now) else _next_in(session, slices, now)


def _partitions(slices: Iterable[Slice]) -> dict[int, str]:
    grouped: dict[int, list[int]] = defaultdict(list)
    for subscription, partition in slices:
        grouped[subscription].append(partition)
    return {subscription: json_text(partitions) for subscription, partitions in grouped.items()}


def suspects(session: Session, slices: Collection[Slice]) -> list[Due]:
    return [_as_due(row) for row in session.rows("suspects", slices=slices_json(slices))]


def _as_due(record: Sequence[Any]) -> Due:
    delivery, subscription, partition, claim, attempts, put_offs, is_replay, handled, lost, behind, *event = record
    place, row = Slice(subscription, partition), row_of(*event)
    return Due(
        delivery, place, row, claim, attempts, put_offs, bool(is_replay), bool(handled), bool(lost), bool(behind)
    )


def take_in(session: Session, lease: Slice, epoch: int, rows: Sequence[Row]) -> list[Due]:
    with session.write():
        _require(session, lease, epoch)
        session.each("settle_parked", [parked_parameters(session, Parked(lease, row, State.RUNNING)) for row in rows])
        # Asked for again because the call may be a repetition, and because a row may be there in another state.
        ids = json_text([id_text(row.id) for row in rows])
        taken = session.rows("taken_in", subscription=lease.subscription, partition=lease.partition, ids=ids)
    by_id = {row.id: row for row in rows}
    return [
        Due(
            delivery,
            lease,
            by_id[id_bytes(event_id)],
            claim,
            attempts=0,
            put_offs=0,
            is_replay=False,
            handled=bool(handled),
        )
        for delivery, event_id, claim, handled in taken
    ]


def begin_attempt(session: Session, due: Due, epoch: int) -> Due | None:
    place = {"delivery": due.delivery, "subscription": due.slice.subscription, "now": session.now()}
    with session.write():
        _require(session, due.slice, epoch)
        row = session.row("begin_attempt", **place)
    if row is None:
        return None
    attempts, claim, handled = row
    return due._replace(attempts=attempts - 1, claim=claim, handled=bool(handled))


def _require(session: Session, lease: Slice, epoch: int) -> None:
    if not held(session, {lease: epoch}):
        raise LeaseLost(str(lease.subscription), lease.partition, epoch)


def unsettled(session: Session, subscriptions: Collection[int], horizon: str) -> dict[int, int]:
    return dict(session.rows("unsettled", subscriptions=json_text(list(subscriptions)), horizon=int(horizon)))


def caused_since(session: Session, horizon: str) -> bool:
    ((caused,),) = session.rows("caused_since", horizon=int(horizon))
    return bool(caused)


def count_recent(session: Session, tenant_id: str, seconds: float, limit: int) -> int:
    ((count,),) = session.rows("count_recent", tenant_id=tenant_id, seconds=seconds, limit=limit, now=session.now())
    return int(count)
