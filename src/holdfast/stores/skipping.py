"""Skipping: a subscription goes on from now, and what it has not handled is passed over, counted, on record."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from holdfast.stores.records import BACKLOG_MAX, Count
from holdfast.stores.refusing import Refusing, free_leases, record

if TYPE_CHECKING:
    from holdfast.stores.records import SubscriptionRecord
    from holdfast.stores.refusing import Action, Rows


class Skipping(Refusing, ABC):
    """The part of `holdfast.stores.inspector.Operator` that skips."""

    async def skip_count(self, subscription: str) -> Count:
        found = await self._find(subscription)
        read = self._inspector.rows  # no transaction: counting writes nothing
        backlog = await read("subscription_backlog", subscription=found.id, bound=BACKLOG_MAX, tenant_id=None)
        return ahead(found, backlog, await read("subscription_counts", tenant_id=None))

    async def skip(self, subscription: str, *, actor: str) -> Count:
        async with self.refusals(actor, "skip", subscription):
            return await self.perform(skip(await self._find(subscription), actor))


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
    backlog = yield "subscription_backlog", {"subscription": subscription.id, "bound": BACKLOG_MAX, "tenant_id": None}
    counts = yield "subscription_counts", {"tenant_id": None}
    return ahead(subscription, backlog, counts)


def ahead(subscription: SubscriptionRecord, backlog: Rows, counts: Rows) -> Count:
    ((seen, events, *_),) = backlog
    _, pending, retrying, running, *_ = next(row for row in counts if row[0] == subscription.id)
    return Count(events + pending + retrying + running, "at least" if seen >= BACKLOG_MAX else "exact")
