"""The operator's actions that both stores share, each a generator that asks for statements and decides.

An action yields ``(statement, parameters)`` and is sent the rows, all in one transaction; its audit row is among what
it writes. How a transaction runs is each store's own: `Operating.perform`. A refusal is raised, which takes back what
was begun, and put on record by a transaction of its own: `Refusing.refusals`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from holdfast.errors import DuplicateSubscription, InvalidInput, InvalidSubscription, NotFound
from holdfast.names import check_subscription_name
from holdfast.stores.correcting import Correcting
from holdfast.stores.ending import to_its_end
from holdfast.stores.erasing import Erasing
from holdfast.stores.indexing import Indexing
from holdfast.stores.inspecting import as_uuid, filter_parameters
from holdfast.stores.records import Retention
from holdfast.stores.refusing import Action, Rows, check_actor, count_in_audit, free_leases, record
from holdfast.stores.skipping import Skipping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from holdfast.stores.filters import DeadFilter, EventFilter, ReplayFilter
    from holdfast.stores.records import Restored, SubscriptionRecord

CHUNK = 500
SCAN = 5_000
PARTITIONS_MAX = 1024
RATE_MAX = 100_000.0


class Range(NamedTuple):
    """Positions from which on (excluded) and up to which (included) events are replayed."""

    after: int
    until: int


class Operating(Skipping, Correcting, Erasing, Indexing, ABC):
    """`holdfast.stores.inspector.Operator`, but for how a store runs a transaction."""

    @abstractmethod
    async def after_restore(self, *, actor: str) -> Restored:
        """Repair what was restored into another server."""

    async def pause(self, subscription: str, *, actor: str) -> bool:
        return await self._switch("pause", subscription, actor)

    async def resume(self, subscription: str, *, actor: str) -> bool:
        return await self._switch("resume", subscription, actor)

    async def _switch(self, action: str, subscription: str, actor: str) -> bool:
        async with self.refusals(actor, action, subscription):
            await self._find(subscription)
            return await self.perform(switch(action, subscription, actor))

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

    async def replay_count(self, subscription: str, filter: ReplayFilter) -> int:
        found = await self._find(subscription)
        require_replayable(found)
        return sum([len(page) async for page in self._pages(found.id, filter, await self._range(filter), SCAN)])

    async def replay(
        self,
        subscription: str,
        filter: ReplayFilter,
        *,
        actor: str,
        rate: float = 1000.0,
        total: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        async with self.refusals(actor, "replay", subscription, given(filter)):
            check_rate(rate)
            found = await self._find(subscription)
            require_replayable(found)
            limits = await self._range(filter)
            if total is None:
                total = await self.replay_count(subscription, filter)
            audit, number = await self.perform(begin_replay(found, filter, rate, total, actor))
        state, done, seen = "cancelled", 0, 0
        size = max(1, min(CHUNK, int(rate)))
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async for page in self._pages(found.id, filter, limits, size):
                done += await self.perform(replay_chunk(found.id, number, audit, page))
                seen += len(page)
                if progress is not None:
                    progress(seen)
                await asyncio.sleep(max(0.0, begun + seen / rate - clock()))
            state = "finished"
        finally:
            await to_its_end(self.perform(end_replay(number, state)))
        return done

    async def _range(self, filter: ReplayFilter) -> Range:
        ((first, last, newest),) = await self._inspector.rows(
            "replay_range", first_id=filter.first_id, last_id=filter.last_id
        )
        for event_id, position in ((filter.first_id, first), (filter.last_id, last)):
            if event_id is not None and position is None:
                raise NotFound(f"no event {event_id} is stored, so a replay cannot begin or end with it")
        return Range(0 if first is None else first - 1, newest if last is None else last)

    async def _pages(self, subscription: int, filter: ReplayFilter, limits: Range, size: int) -> AsyncIterator[Rows]:
        """The (position, id) of what a replay delivers, *size* at most at a time. Each part of the log is read once."""
        wanted = filter_parameters(filter) | {"subscription": subscription}
        while True:
            ((last,),) = await self._inspector.rows(
                "replay_window", after=limits.after, until_position=limits.until, limit=SCAN
            )
            if last is None:
                return
            found = await self._inspector.rows("replay_page", **wanted, after=limits.after, until_position=last)
            for start in range(0, len(found), size):
                yield found[start : start + size]
            limits = limits._replace(after=last)

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

    async def retention_run(self, seconds: float, *, actor: str) -> Retention:
        detail = {"older_than_seconds": seconds}
        async with self.refusals(actor, "retention", "the log", detail):
            audit = await self.perform(record(actor, "retention", "the log", detail=detail, count=0))
            before = await self._inspector.retention_preview(seconds)
            done = await self._store.maintain(retention=seconds)
            left = await self._inspector.retention_preview(seconds)
            dropped = max(0, before.droppable - left.droppable)  # counted: the store only estimates a large day
            outcome = Retention(dropped, left.droppable + left.kept, done.blocking, left.with_their_day)
            await self.perform(count_in_audit(audit, outcome.droppable))
        return outcome


def given(filter: EventFilter) -> dict[str, Any]:
    """What a filter asks for, for the audit."""
    return {field: value for field, value in asdict(filter).items() if value is not None}


def check_rate(rate: float) -> None:
    if not 0 < rate <= RATE_MAX:
        raise InvalidInput("rate", f"is {rate}", f"use more than 0 and at most {RATE_MAX:.0f} events per second")


def require_replayable(subscription: SubscriptionRecord) -> None:
    if not subscription.replayable:
        raise InvalidSubscription(
            "replayable", f"of {subscription.name!r} is False: its handler must not see an event twice on purpose",
            "declare it with replayable=True if that has changed",
        )  # fmt: skip


def switch(action: str, subscription: str, actor: str) -> Action[bool]:
    """Pause or resume."""
    check_actor(actor)  # before it is written as the one who paused
    changed = bool((yield action, {"name": subscription, "actor": actor}))
    yield from record(actor, action, subscription, count=int(changed))
    yield "bump_generation", {}
    return changed


def change_chunk(statement: str, deliveries: Sequence[int], audit: int, *, held: bool) -> Action[int]:
    """Retry or discard some delivery rows."""
    changed = len((yield statement, {"deliveries": list(deliveries), "held": held}))
    yield from count_in_audit(audit, changed)
    yield "bump_generation", {}
    return changed


def begin_replay(
    subscription: SubscriptionRecord, filter: ReplayFilter, rate: float, total: int, actor: str
) -> Action[tuple[int, int]]:
    """Returns the ids of the audit row and of the replay."""
    detail = given(filter)
    audit = yield from record(actor, "replay", subscription.name, detail=detail | {"rate": rate}, count=0)
    parameters = {
        "subscription": subscription.id, "filters": msgspec.json.encode(detail).decode(), "rate": float(rate),
        "total": total, "actor": actor,
    }  # fmt: skip
    ((number,),) = yield "add_replay", parameters
    return audit, int(number)


def replay_chunk(subscription: int, replay: int, audit: int, page: Rows) -> Action[int]:
    """Hand some events to the workers again; returns how many were not in their hands already."""
    parameters = {
        "subscription": subscription, "replay": replay, "ids": [as_uuid(row[1]) for row in page], "first": page[0][0],
        "last": page[-1][0],
    }  # fmt: skip
    placed = len((yield "replay_deliveries", parameters))
    yield "advance_replay", {"replay": replay, "count": len(page)}
    yield from count_in_audit(audit, placed)
    yield "bump_generation", {}
    return placed


def end_replay(replay: int, state: str) -> Action[None]:
    yield "end_replay", {"replay": replay, "state": state}


def rename(
    subscription: SubscriptionRecord, new_name: str, actor: str, detail: Mapping[str, Any], *, force: bool
) -> Action[None]:
    if not force:
        yield from free_leases(subscription)
    if new_name in [row[1] for row in (yield "subscription_records", {})]:
        raise DuplicateSubscription(new_name, "another subscription", subscription.name)
    yield from record(actor, "rename", subscription.name, detail=detail)
    yield "rename_subscription", {"subscription": subscription.id, "new_name": new_name}
    yield "bump_generation", {}


def remove(subscription: SubscriptionRecord, actor: str, *, force: bool) -> Action[int]:
    if not force:
        yield from free_leases(subscription)
    ((deliveries,),) = yield "count_deliveries", {"subscription": subscription.id}
    yield "remove_subscription", {"subscription": subscription.id}
    yield from record(actor, "remove", subscription.name, detail={"force": force}, count=deliveries)
    yield "bump_generation", {}
    return int(deliveries)


def repartition(subscription: SubscriptionRecord, partitions: int, actor: str) -> Action[None]:
    """All new cursors start from the oldest one, not clean: what is settled is passed over by its receipts and rows."""
    detail = {"from": subscription.partitions, "to": partitions}
    epoch = yield from free_leases(subscription)
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
