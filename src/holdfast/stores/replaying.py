"""Replaying: stored events are handed to the workers again, chunk by chunk; how far that got is kept with each chunk."""

from __future__ import annotations

import asyncio
from abc import ABC
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from holdfast.errors import BusStateError, InvalidInput, InvalidSubscription, NotFound
from holdfast.stores.columns import as_json, as_uuid
from holdfast.stores.ending import to_its_end
from holdfast.stores.filters import ReplayFilter
from holdfast.stores.inspecting import filter_parameters
from holdfast.stores.refusing import Refusing, count_in_audit, given, record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from holdfast.stores.records import SubscriptionRecord
    from holdfast.stores.refusing import Action, Rows

CHUNK = 500
SCAN = 5_000
RATE_MAX = 100_000.0


class Range(NamedTuple):
    """Positions from which on (excluded) and up to which (included) events are replayed."""

    after: int
    until: int


class Begun(NamedTuple):
    """A replay that is under way. `done`: events that were handed over before, by a process that ended."""

    number: int
    audit: int
    subscription: int
    filter: ReplayFilter
    limits: Range
    rate: float
    done: int = 0


class Replaying(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that replays."""

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
            begun = await self.perform(begin(found, filter, limits, rate, total, actor))
        return await self._hand_over(begun, progress)

    async def go_on_replaying(self, replay: int, *, actor: str, progress: Callable[[int], None] | None = None) -> int:
        async with self.refusals(actor, "replay", f"replay {replay}"):
            begun = await self.perform(go_on(replay, actor))
        return await self._hand_over(begun, progress)

    async def _hand_over(self, begun: Begun, progress: Callable[[int], None] | None) -> int:
        state, placed, seen = "cancelled", 0, 0
        size = max(1, min(CHUNK, int(begun.rate)))
        clock = asyncio.get_running_loop().time
        since = clock()
        try:
            async for page in self._pages(begun.subscription, begun.filter, begun.limits, size):
                placed += await self.perform(hand_over_chunk(begun, page))
                seen += len(page)
                if progress is not None:
                    progress(begun.done + seen)
                await asyncio.sleep(max(0.0, since + seen / begun.rate - clock()))
            state = "finished"
        finally:
            await to_its_end(self.perform(end(begun.number, state)))
        return placed

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


def check_rate(rate: float) -> None:
    if not 0 < rate <= RATE_MAX:
        raise InvalidInput("rate", f"is {rate}", f"use more than 0 and at most {RATE_MAX:.0f} events per second")


def require_replayable(subscription: SubscriptionRecord) -> None:
    if not subscription.replayable:
        raise InvalidSubscription(
            "replayable", f"of {subscription.name!r} is False: its handler must not see an event twice on purpose",
            "declare it with replayable=True if that has changed",
        )  # fmt: skip


def begin(
    subscription: SubscriptionRecord, filter: ReplayFilter, limits: Range, rate: float, total: int, actor: str
) -> Action[Begun]:
    detail = given(filter)
    audit = yield from record(actor, "replay", subscription.name, detail=detail | {"rate": rate}, count=0)
    parameters = {
        "subscription": subscription.id, "filters": msgspec.json.encode(detail).decode(), "rate": float(rate),
        "total": total, "actor": actor, "position": limits.after, "until_position": limits.until,
    }  # fmt: skip
    ((number,),) = yield "add_replay", parameters
    return Begun(int(number), audit, subscription.id, filter, limits, rate)


def go_on(replay: int, actor: str) -> Action[Begun]:
    """
    Take a replay up again that has stopped.

    Raises:
        BusStateError: It has not, or is of an earlier release, which kept no place.
        NotFound: There is no such replay.
    """
    states = yield "replay_state", {"replay": replay}
    if not states:
        raise NotFound(f"no replay {replay}: holdfast replay --list  lists those there were")
    rows = yield "go_on_with_replay", {"replay": replay}
    if not rows:
        raise BusStateError(
            f"replay {replay} is {states[0][0]}: one goes on that was cancelled, or whose process has not been heard of "
            f"for a minute"
        )
    ((subscription, name, filters, rate, done, position, until_position),) = rows
    detail = {"goes_on": replay, "done": done}
    audit = yield from record(actor, "replay", name, detail=detail, count=0)
    chosen = msgspec.convert(as_json(filters), ReplayFilter)
    return Begun(replay, audit, subscription, chosen, Range(position, until_position), rate, done)


def hand_over_chunk(begun: Begun, page: Rows) -> Action[int]:
    """Hand some events to the workers again; returns how many were not in their hands already."""
    parameters: dict[str, Any] = {
        "subscription": begun.subscription, "replay": begun.number, "ids": [as_uuid(row[1]) for row in page],
        "first": page[0][0], "last": page[-1][0],
    }  # fmt: skip
    placed = len((yield "replay_deliveries", parameters))
    yield "advance_replay", {"replay": begun.number, "count": len(page), "position": page[-1][0]}
    yield from count_in_audit(begun.audit, placed)
    yield "bump_generation", {}
    return placed


def end(replay: int, state: str) -> Action[None]:
    yield "end_replay", {"replay": replay, "state": state}
