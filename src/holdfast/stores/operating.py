"""The operator's actions that both stores share, each a generator that asks for statements and decides.

An action yields ``(statement, parameters)`` and is sent the rows, all in one transaction; its audit row is among what
it writes. How a transaction runs is each store's own: `Operating.perform`. A refusal is raised, which takes back what
was begun, and put on record by a transaction of its own: `Refusing.refusals`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from holdfast.archive import Archive
from holdfast.errors import DuplicateSubscription, InvalidSubscription
from holdfast.names import check_subscription_name
from holdfast.stores.correcting import Correcting
from holdfast.stores.erasing import Erasing
from holdfast.stores.indexing import Indexing
from holdfast.stores.putting_back import PuttingBack
from holdfast.stores.refusing import Action, count_in_audit, given, record, without_workers
from holdfast.stores.replaying import Replaying
from holdfast.stores.rescheduling import Rescheduling
from holdfast.stores.rotating import Rotating
from holdfast.stores.skipping import Skipping
from holdfast.stores.storage import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from holdfast.stores.filters import DeadFilter
    from holdfast.stores.records import Restored, SubscriptionRecord

CHUNK = 500
PARTITIONS_MAX = 1024


class Operating(Skipping, Replaying, PuttingBack, Correcting, Erasing, Rotating, Indexing, Rescheduling, ABC):
    """`holdfast.stores.operator.Operator`, but for how a store runs a transaction."""

    @abstractmethod
    async def after_restore(self, *, actor: str) -> Restored:
        """Repair what was restored into another server."""

    @abstractmethod
    def before_moving_in(self, highest: int) -> Action[None]:
        """
        What a store has to do before events of another one, with all that belongs to them, are stored in the same
        transaction. Delivery rows made from here on get higher numbers than *highest*.
        """

    @abstractmethod
    def after_moving_in(self) -> Action[None]:
        """What it has to do then, so that no cursor comes to them."""

    async def verified(self, target: str, *, actor: str, events: int, sound: bool) -> None:
        await self.perform(record(actor, "verify", target, detail={"sound": sound}, count=events))

    async def refused(self, action: str, target: str, *, actor: str, reason: str) -> None:
        await self.perform(record(actor, action, target, detail={"refused": reason}, allowed=False))

    async def matching(self, filter: DeadFilter, *, held: bool = False) -> int:
        return len(await self._inspector.matching(filter, held=held))

    async def retry_dead(self, filter: DeadFilter, *, actor: str, progress: Callable[[int], None] | None = None) -> int:
        return await self._change("dead retry", "retry_deliveries", filter, actor, progress, held=False)

    async def discard(
        self, filter: DeadFilter, *, actor: str, held: bool = False, progress: Callable[[int], None] | None = None
    ) -> int:
        return await self._change("dead discard", "discard_deliveries", filter, actor, progress, held=held)

    async def _change(
        self,
        action: str,
        statement: str,
        filter: DeadFilter,
        actor: str,
        progress: Callable[[int], None] | None,
        *,
        held: bool,
    ) -> int:
        target, detail = filter.subscription or "all subscriptions", given(filter) | {"held": held}
        async with self.refusals(actor, action, target, detail):
            # The oldest first: rows of one key become due in their order.
            deliveries = (await self._inspector.matching(filter, held=held))[::-1]
            audit = await self.perform(record(actor, action, target, detail=detail, count=0))
            changed = 0
            for start in range(0, len(deliveries), CHUNK):
                chunk = deliveries[start : start + CHUNK]
                changed += await self.perform(change_chunk(statement, chunk, audit, held=held))
                if progress is not None:
                    progress(changed)
        return changed

    async def rename(self, subscription: str, new_name: str, *, actor: str, force: bool = False) -> None:
        detail = {"new_name": new_name, "force": force}
        async with self.refusals(actor, "rename", subscription, detail):
            check_subscription_name(new_name)
            found = await self._find(subscription)
            await self.perform(rename(found, new_name, actor, detail, force=force))

    async def remove(self, subscription: str, *, actor: str, force: bool = False) -> int:
        async with self.refusals(actor, "remove", subscription, {"force": force}):
            return await self.perform(remove(await self._find(subscription), actor, force=force))

    async def repartition(self, subscription: str, partitions: int, *, actor: str) -> None:
        async with self.refusals(actor, "repartition", subscription, {"to": partitions}):
            if not 1 <= partitions <= PARTITIONS_MAX:
                raise InvalidSubscription("partitions", f"is {partitions}", f"use 1 to {PARTITIONS_MAX}")
            found = await self._find(subscription)
            if found.partitions == partitions:
                raise InvalidSubscription(
                    "partitions", f"of {subscription!r} is {partitions} already", "give another number"
                )
            await self.perform(repartition(found, partitions, actor))

    async def retention_run(self, seconds: float, *, actor: str, archive: Path | None = None) -> Retention:
        detail: dict[str, Any] = {"older_than_seconds": seconds}
        if archive is not None:
            detail["archive"] = str(archive)
        async with self.refusals(actor, "retention", "the log", detail):
            audit = await self.perform(record(actor, "retention", "the log", detail=detail, count=0))
            before = await self._inspector.retention_preview(seconds)
            done = await self._store.maintain(retention=seconds, archive=None if archive is None else Archive(archive))
            left = await self._inspector.retention_preview(seconds)
            dropped = max(0, before.droppable - left.droppable)  # counted: the store only estimates a large day
            outcome = Retention(dropped, left.droppable + left.kept, done.blocking, left.with_their_day)
            await self.perform(count_in_audit(audit, outcome.droppable))
        return outcome


def change_chunk(statement: str, deliveries: Sequence[int], audit: int, *, held: bool) -> Action[int]:
    """Retry or discard some delivery rows."""
    changed = len((yield statement, {"deliveries": list(deliveries), "held": held}))
    yield from count_in_audit(audit, changed)
    yield "bump_generation", {}
    return changed


def rename(
    subscription: SubscriptionRecord, new_name: str, actor: str, detail: Mapping[str, Any], *, force: bool
) -> Action[None]:
    if not force:
        yield from without_workers(subscription)
    if new_name in [row[1] for row in (yield "subscription_records", {})]:
        raise DuplicateSubscription(new_name, "another subscription", subscription.name)
    yield from record(actor, "rename", subscription.name, detail=detail)
    yield "rename_subscription", {"subscription": subscription.id, "new_name": new_name}
    yield "bump_generation", {}


def remove(subscription: SubscriptionRecord, actor: str, *, force: bool) -> Action[int]:
    if not force:
        yield from without_workers(subscription)
    ((deliveries,),) = yield "count_deliveries", {"subscription": subscription.id}
    yield "remove_subscription", {"subscription": subscription.id}
    yield from record(actor, "remove", subscription.name, detail={"force": force}, count=deliveries)
    yield "bump_generation", {}
    return int(deliveries)


def repartition(subscription: SubscriptionRecord, partitions: int, actor: str) -> Action[None]:
    """All new cursors start from the oldest one, not clean: what is settled is passed over by its receipts and rows."""
    detail = {"from": subscription.partitions, "to": partitions}
    epoch = yield from without_workers(subscription)
    yield from record(actor, "repartition", subscription.name, detail=detail)
    one = {"subscription": subscription.id}
    ((done, open_, position),) = yield "oldest_cursor", one
    yield "clear_leases", one
    yield "clear_cursors", one
    yield "fresh_leases", one | {"partitions": partitions, "epoch": epoch + 1}
    yield "fresh_cursors", one | {"partitions": partitions, "done": done, "open": open_, "position": position}
    yield "move_deliveries", one | {"partitions": partitions}
    yield "set_partitions", one | {"partitions": partitions}
    yield "bump_generation", {}
