"""Sealing: what can be seen for good is linked to the chains of its days, a page at a time, each page in one transaction.

Nothing waits for it: it reads committed events and writes tables of its own. A page and how far the log is sealed commit
together, so a sealer that is killed leaves whole links, and the next one goes on behind them; of two at once, one
finds each time that the other was quicker.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.errors import StoreUnavailable
from holdfast.sealing.chain import GENESIS, link
from holdfast.sealing.comparing import pairs
from holdfast.sealing.rows import as_day, as_event
from holdfast.stores.refusing import count_in_audit, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from holdfast.sealing.chain import LoggedEvent
    from holdfast.stores.inspecting import Inspecting
    from holdfast.stores.operating import Operating
    from holdfast.stores.refusing import Action

PAGE = 5_000
BESIDE_WORKERS = 0.15
"""Share of the time for a sealer that runs beside workers on the same machine."""


class Sealed(NamedTuple):
    """What a round of sealing added."""

    events: int
    segments: int


class Place(NamedTuple):
    """How far the log is sealed; the columns of table ``sealing``. Opaque but for its positions."""

    step: int
    done: str | int
    open: str | int | None
    position: int
    highest: int
    recount: bool
    dropped: int


class Group(NamedTuple):
    """Events of one link to be: of one day, in the order of positions."""

    day: date
    first: int
    last: int
    entries: bytes


class Sealer:
    """
    Seals a store's log; all rounds of one sealer are one row of the audit.

    Args:
        inspector: Of the store.
        operator: Of the same store, which must be open.
        actor: Who seals, for the audit.
        page: Events of a link, 1 to 10,000; a transaction each.
        share: Of the time in which it works, above 0 and up to 1; the rest of it it leaves processors and locks to others.
    """

    def __init__(
        self, inspector: Inspecting, operator: Operating, *, actor: str, page: int = PAGE, share: float = 1.0
    ) -> None:
        self._inspector, self._operator, self._actor, self._limit = inspector, operator, actor, page
        self._rest = 1 / share - 1
        self._audit = 0

    async def seal(self, progress: Callable[[int], None] | None = None) -> Sealed:
        """
        Seal all that can be seen now; *progress* takes the number of events so far.

        Raises:
            StoreUnavailable: The store is away, or is a standby, or row security hides events. What was sealed stays;
                seal again.
            PermissionDenied: The role may not write the seals.

        Cost: reads each new event once; one transaction and some 120 bytes an event for each page.
        """
        if not self._audit:
            self._audit = await self._operator.perform(record(self._actor, "seal", "the log", count=0))
        horizon, incarnation = await self._horizon()
        events = segments = 0
        clock = asyncio.get_running_loop().time
        while True:
            begun, place = clock(), await self._place()
            step = self._unsealed(place) if place.recount else self._next(place, place.open or horizon)
            found, after = await step
            if after is None:
                break
            groups = grouped(found, place.highest)
            if await self._operator.perform(self._add(place, after, incarnation, groups)):
                events, segments = events + len(found), segments + len(groups)
                if progress is not None:
                    progress(events)
            elif (await self._place()).step == place.step:  # no other sealer was quicker
                raise StoreUnavailable("the server has crashed and come back: what was read is not sealed; seal again")
            await asyncio.sleep(self._rest * (clock() - begun))
        await self._operator.perform(forget_dropped())
        return Sealed(events, segments)

    async def _horizon(self) -> tuple[str | int, str]:
        ((place, incarnation, trusted),) = await self._inspector.rows("seal_horizon")
        if not trusted:
            raise StoreUnavailable(
                "nothing is sealed: the server is in recovery, or row security hides rows of event_log from this role "
                "(alter role ... bypassrls)"
            )
        return place, incarnation

    async def _place(self) -> Place:
        return Place._make((await self._inspector.rows("sealing"))[0])

    async def _next(self, place: Place, horizon: str | int) -> tuple[Sequence[LoggedEvent], Place | None]:
        """A page of the window up to *horizon*, and where sealing is after it; None where there is nothing to do."""
        rows = await self._inspector.rows(
            "seal_page", done=place.done, open=horizon, position=place.position, highest=place.highest,
            limit=self._limit,
        )  # fmt: skip
        if rows:
            last = rows[-1][0]
            after = place._replace(open=horizon, position=last, highest=max(place.highest, last))
            return [as_event(row) for row in rows], after
        return [], None if place.open is None else place._replace(done=place.open, open=None, position=0)

    async def _unsealed(self, place: Place) -> tuple[Sequence[LoggedEvent], Place | None]:
        """A page of what lies below the highest sealed position without a seal: the late ones that a restore met."""
        segments = {as_day(day): count for day, count, *_ in await self._inspector.rows("seal_days")}
        found: list[LoggedEvent] = []
        async with aclosing(pairs(self._inspector, segments)) as compared:
            async for sealed, event in compared:
                if event is not None and event.position > place.highest:
                    break
                if event is not None and sealed is None:
                    found.append(event)
                    if len(found) == self._limit:
                        return found, place
        return found, place._replace(recount=False)

    def _add(self, before: Place, after: Place, incarnation: str, groups: Sequence[Group]) -> Action[bool]:
        """Link a page and go on to *after*, unless another sealer has gone on from *before* already: False."""
        wanted = after._asdict() | {"step": before.step, "incarnation": incarnation}
        if not (yield "advance_sealing", wanted):
            return False
        added = 0
        for group in groups:
            added += yield from add_link(group)
        yield from count_in_audit(self._audit, added)
        return True


def grouped(events: Iterable[LoggedEvent], highest: int) -> list[Group]:
    """
    The links that a page becomes: one for each day, and one apart for what comes late, from below *highest*. So of the
    links in order, only those of late events lie across others.
    """
    members: dict[tuple[bool, date | None], list[LoggedEvent]] = {}
    for event in events:
        members.setdefault((event.position > highest, event.day), []).append(event)
    groups = []
    for (_, day), some in members.items():
        assert day is not None
        groups.append(Group(day, some[0].position, some[-1].position, b"".join([event.packed for event in some])))
    return groups


def add_link(group: Group) -> Action[int]:
    """Put a link at the end of its day's chain; returns its number of events. Sealers come here one at a time."""
    day = group.day.isoformat()
    rows = yield "seal_day", {"day": day}
    segments, events, head = rows[0] if rows else (0, 0, GENESIS)
    made = link(head, group.day, segments + 1, group.first, group.last, group.entries)
    columns: dict[str, Any] = made._asdict() | {"day": day, "entries": group.entries}
    yield "add_segment", columns
    count = events + made.events
    yield "put_seal_day", {"day": day, "segments": made.number, "events": count, "head": made.head}
    return made.events


def forget_dropped() -> Action[None]:
    """Retention has dropped events: what the links say of each goes too, the chain stays."""
    yield "forget_entries", {}
