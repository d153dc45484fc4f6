"""Skipping: a subscription goes on from now, and what it has not handled is passed over, counted, on record."""

from __future__ import annotations

import asyncio
from abc import ABC
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import BusStateError
from holdfast.stores.ending import to_its_end
from holdfast.stores.pausing import Pausing, switch
from holdfast.stores.records import Count
from holdfast.stores.refusing import free_leases, record
from holdfast.wording import counted, roughly

if TYPE_CHECKING:
    from holdfast.stores.records import SubscriptionRecord
    from holdfast.stores.refusing import Action, Rows

COUNTED_MAX = 100_000
PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.1


class Skipping(Pausing, ABC):
    """The part of `holdfast.stores.operator.Operator` that skips."""

    async def skip_count(self, subscription: str) -> Count:
        found = await self._find(subscription)
        read = self._inspector.rows  # no transaction: counting writes nothing
        backlog = await read("subscription_backlog", subscription=found.id, bound=COUNTED_MAX, tenant_id=None)
        return ahead(found, backlog, await read("subscription_counts", tenant_id=None))

    async def skip(self, subscription: str, *, actor: str, patience: float = PATIENCE_SECONDS) -> Count:
        async with self.refusals(actor, "skip", subscription):
            found = await self._find(subscription)
            with suppress(BusStateError):  # workers hold leases of it
                return await self.perform(skip(found, actor))
            paused = await self.perform(switch("pause", found.name, actor, {"to": "skip"}))
            try:
                return await self._skip_when_free(found, actor, patience)
            finally:
                if paused:
                    await to_its_end(self.perform(switch("resume", found.name, actor, {"after": "skip"})))

    async def _skip_when_free(self, subscription: SubscriptionRecord, actor: str, patience: float) -> Count:
        """Skip as soon as the workers, which see that the subscription is paused, have given back all partitions."""
        now = asyncio.get_running_loop().time
        deadline = now() + patience
        while True:
            owned = sum(lease.live for lease in await self._inspector.leases(subscription.name))
            if not owned:
                with suppress(BusStateError):  # a worker that has not seen the pause yet has just taken some
                    return await self.perform(skip(subscription, actor))
            if now() > deadline:
                raise BusStateError(
                    f"{subscription.name!r} was paused for it, and {patience:g} s later live workers still hold {owned} "
                    f"of {counted(subscription.partitions, 'partition')}, for handlers that have not ended: nothing was "
                    f"skipped; try again later, or stop these workers (holdfast workers  lists them)"
                )
            await asyncio.sleep(_LOOK_SECONDS)


def skip(subscription: SubscriptionRecord, actor: str) -> Action[Count]:
    """
    Every cursor begins at what can be seen now, under a new epoch. Not clean, although nothing beyond it was handled:
    the next owner looks up what came since, which costs little, and no crash of an owner before counts any more.

    What commits later comes later, whenever it began. Dead deliveries stay as they are.
    """
    yield from free_leases(subscription)
    passed = yield from count_ahead(subscription)
    one = {"subscription": subscription.id}
    rows = len((yield "skip_deliveries", one))
    yield "skip_cursors", one
    yield "skip_leases", one
    detail = {"counted": passed.kind, "delivery_rows": rows}
    yield from record(actor, "skip", subscription.name, detail=detail, count=passed.events)
    yield "bump_generation", {}
    return passed


def count_ahead(subscription: SubscriptionRecord) -> Action[Count]:
    """What is not settled: beyond the cursors, up to a bound, and delivery rows."""
    backlog = yield "subscription_backlog", {"subscription": subscription.id, "bound": COUNTED_MAX, "tenant_id": None}
    counts = yield "subscription_counts", {"tenant_id": None}
    return ahead(subscription, backlog, counts)


def ahead(subscription: SubscriptionRecord, backlog: Rows, counts: Rows) -> Count:
    ((events, estimated, *_),) = backlog
    _, pending, retrying, running, *_ = next(row for row in counts if row[0] == subscription.id)
    events = (roughly(events) if estimated else events) + pending + retrying + running
    return Count(events, "estimate" if estimated else "exact")
