"""What tests of looking and acting share: an open store with its inspector and operator, and what the engine does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from holdfast.event import NewEvent
from holdfast.ids import new_id
from holdfast.stores.values import (
    Advance,
    Attempt,
    Cursor,
    Declaration,
    Parked,
    Receipt,
    Released,
    Settlement,
    State,
    WorkerInfo,
)

if TYPE_CHECKING:
    from holdfast.event import Row
    from holdfast.stores.base import Store
    from holdfast.stores.inspector import Inspector
    from holdfast.stores.operator import Operator
    from holdfast.stores.values import Lease, Subscription


class Desk(NamedTuple):
    """An open store with its inspector and operator, and short ways to do what the engine does."""

    store: Store
    inspector: Inspector
    operator: Operator
    worker: UUID

    async def publish(self, name: str = "order.placed", *, n: int = 1, **fields: Any) -> list[UUID]:
        events = [
            NewEvent(
                fields.get("event_id") or new_id(),
                fields.get("tenant", "acme"),
                name,
                fields.get("key"),
                fields.get("payload", b'{"n":%d}' % i),
                fields.get("headers"),
                fields.get("at"),
            )
            for i in range(n)
        ]
        await self.store.append(events, atomic=True)
        return [event.id for event in events]

    async def subscribe(self, name: str = "billing", **options: Any) -> Subscription:
        (found,) = await self.store.register([Declaration(name, ("order.*",), **{"partitions": 1} | options)])
        return found

    async def lease(self, subscription: Subscription) -> list[Lease]:
        info = WorkerInfo(self.worker, "host", "boot", 1, "then", "0.1.0", (subscription.id,))
        await self.store.heartbeat(info, ttl=30)
        return await self.store.acquire(self.worker, {subscription.id: subscription.partitions}, ttl=30)

    async def read(self, lease: Lease) -> tuple[list[Row], Cursor]:
        reader = await self.store.reader()
        try:
            page = await reader.read(lease.cursor, limit=1000, max_bytes=2**20)
        finally:
            await reader.close()
        return list(page.rows), page.cursor

    async def handle(self, lease: Lease, *, failing: frozenset[UUID] = frozenset()) -> None:
        """Handle all there is; the failing ones end dead after one attempt. Then give the lease back."""
        rows, cursor = await self.read(lease)
        settlement = Settlement({lease.slice: lease.epoch})
        for row in rows:
            if UUID(bytes=row.id) in failing:
                settlement.parked.append(Parked(lease.slice, row, State.DEAD, attempts=1, reason="it broke"))
                settlement.attempts.append(
                    Attempt(lease.slice, row.id, row.day, 1, "failed", "ValueError", "Bad Thing", "Traceback ...", 0.25)
                )
            else:
                settlement.add(Receipt(lease.slice, row.id, row.day))
        settlement.advances.append(Advance(lease.slice, cursor))
        assert await self.store.settle(settlement) == set()
        await self.store.release(self.worker, [Released(lease.slice, lease.epoch, cursor, exact=True)])

    async def died(self, **fields: Any) -> tuple[Subscription, UUID]:
        """A subscription with one dead letter."""
        subscription = await self.subscribe(**fields)
        (event_id,) = await self.publish(key="k")
        (lease,) = await self.lease(subscription)
        await self.handle(lease, failing=frozenset([event_id]))
        return subscription, event_id
