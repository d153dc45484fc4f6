"""Delivery rows: what is off the fast path, claimed and taken in by the partition's owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import LeaseLost
from holdfast.event import Row
from holdfast.stores.claiming import prefixes
from holdfast.stores.postgres import arrays
from holdfast.stores.postgres.session import fence_parameters, slice_parameters
from holdfast.stores.values import Claim, Due, Slice

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from holdfast.stores.postgres.session import Connection, Session
    from holdfast.stores.sql import Statements


class Deliveries:
    """The part of the PostgreSQL store that keeps delivery rows, and answers what is known of events."""

    _statements: Statements
    _work: Session

    async def known(self, subscription: int, events: Sequence[tuple[bytes, int]]) -> set[bytes]:
        parameters = {
            "subscription": subscription,
            "ids": arrays.uuids([one for one, _ in events]),
            "days": arrays.integers([day for _, day in events]),
        }
        return {row[0] for row in await self._work.run(self._statements["known"], parameters)}

    async def blocked_keys(self, slices: Collection[Slice]) -> dict[Slice, dict[tuple[str, str], int]]:
        blocked: dict[Slice, dict[tuple[str, str], int]] = {one: {} for one in slices}
        for row in await self._work.run(self._statements["blocked_keys"], slice_parameters(slices)):
            subscription, partition, tenant_id, key, count = row
            blocked[Slice(subscription, partition)][tenant_id, key] = count
        return blocked

    async def claim(self, leases: Mapping[Slice, int], *, limit: int) -> Claim:
        fence = fence_parameters(leases)
        held = {name: fence[name] for name in ("subscriptions", "partitions")}
        for prefix in prefixes():
            bounds = {"limit": limit, "prefix": prefix}
            ((ids, has_more),) = await self._work.run(self._statements["claimable"], held | bounds)
            if len(ids) == limit or not has_more:
                break
        rows = await self._work.run(self._statements["claim"], fence | {"ids": ids}) if ids else []
        ((next_in, generation),) = await self._work.run(self._statements["next_due"], held)
        return Claim([as_due(row) for row in rows], next_in, generation)

    async def suspects(self, slices: Collection[Slice]) -> list[Due]:
        return [as_due(row) for row in await self._work.run(self._statements["suspects"], slice_parameters(slices))]

    async def take_in(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> list[Due]:
        async with self._work.transaction() as connection:
            await self._require(connection, lease, epoch)
            cursor = await connection.execute(
                self._statements["take_in"],
                {
                    "subscription": lease.subscription,
                    "partition": lease.partition,
                    "ids": arrays.uuids([row.id for row in rows]),
                    "days": arrays.integers([row.day for row in rows]),
                },
                binary=True,
            )
            taken = {event_id: found async for event_id, *found in cursor}
        return [
            Due(delivery, lease, row, claim, attempts=0, put_offs=0, is_replay=False, handled=handled)
            for row in rows
            if row.id in taken
            for delivery, claim, handled in (taken[row.id],)
        ]

    async def begin_attempt(self, due: Due, epoch: int) -> Due | None:
        async with self._work.transaction() as connection:
            await connection.execute("set local lock_timeout = '2s'")  # a zombie's transaction may hold the row
            await self._require(connection, due.slice, epoch)
            cursor = await connection.execute(self._statements["begin_attempt"], {"delivery": due.delivery})
            row = await cursor.fetchone()
        return None if row is None else due._replace(attempts=row[0] - 1, claim=row[1], handled=row[2])

    async def _require(self, connection: Connection, lease: Slice, epoch: int) -> None:
        cursor = await connection.execute(self._statements["fence"], fence_parameters({lease: epoch}))
        if not await cursor.fetchall():
            raise LeaseLost(str(lease.subscription), lease.partition, epoch)

    async def unsettled(self, subscriptions: Collection[int], horizon: str) -> dict[int, int]:
        parameters = {"subscriptions": list(subscriptions), "horizon": horizon}
        rows = await self._work.run(self._statements["unsettled"], parameters)
        return {subscription: int(count) for subscription, count in rows}

    async def caused_since(self, horizon: str) -> bool:
        ((caused,),) = await self._work.run(self._statements["caused_since"], {"horizon": horizon})
        return bool(caused)

    async def count_recent(self, tenant_id: str, seconds: float, limit: int) -> int:
        # On the publishing session the next publish would wait for it.
        parameters = {"tenant_id": tenant_id, "seconds": seconds, "limit": limit}
        ((count,),) = await self._work.run(self._statements["count_recent"], parameters)
        return int(count)


def as_due(row: Sequence[Any]) -> Due:
    delivery, subscription, partition, claim, attempts, put_offs, is_replay, handled, lost, behind, *event = row
    *rest, payload, headers = event
    # A log that lost the payload: decoding will say so, and the delivery end dead.
    content = Row._make((*rest, b"" if payload is None else payload, headers))
    return Due(
        delivery, Slice(subscription, partition), content, claim, attempts, put_offs, is_replay, handled, lost, behind
    )
