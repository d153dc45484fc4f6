"""The log and what the seals say of it, side by side in the order of positions, with bounded memory.

The links of one day lie behind each other, but those with events of slow transactions lie across others. So links are
opened where their first position is reached, and merged. What is sealed late is linked apart (`sealer`), so the
links that are open at once hold no more than such events, and one other link.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from holdfast.sealing.chain import ENTRY_BYTES, unpacked
from holdfast.sealing.rows import FIRST_DAY, LAST_DAY, as_day, as_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
    from datetime import date

    from holdfast.sealing.chain import Entry, LoggedEvent
    from holdfast.stores.inspecting import Inspecting

_PAGE, _LINKS = 2_000, 8
_LOWEST = -(2**63)  # no sound event has a position below 1
_NO_ID = "00000000-0000-0000-0000-000000000000"


class Kept(NamedTuple):
    """An entry, and the day that it was sealed for. Sorts by position."""

    entry: Entry
    day: date


Pair: TypeAlias = "tuple[Kept, LoggedEvent] | tuple[Kept, None] | tuple[None, LoggedEvent]"
"""What a seal says of an event, and what the log does: one of them may be missing."""


class Span(NamedTuple):
    """Days, the first and the last one included, as ISO texts."""

    first_day: str = FIRST_DAY
    last_day: str = LAST_DAY


ALL_DAYS = Span()


async def pairs(
    inspector: Inspecting, segments: Mapping[date, int], span: Span = ALL_DAYS
) -> AsyncGenerator[Pair, None]:
    """
    Each event of the log with its entry.

    Args:
        inspector: Of the store.
        segments: How many links of each day count: those that were there before the first event is read, or one that is
            sealed meanwhile would seem to be missing from the log.
        span: The days to look at.
    """
    events, entries = logged(inspector, span), kept(inspector, segments, span)
    event, entry = await anext(events, None), await anext(entries, None)
    while event is not None or entry is not None:
        position = min(one for one in (event and event.position, entry and entry.entry.position) if one is not None)
        here: list[LoggedEvent] = []
        while event is not None and event.position == position:
            here.append(event)
            event = await anext(events, None)
        sealed: list[Kept] = []
        while entry is not None and entry.entry.position == position:
            sealed.append(entry)
            entry = await anext(entries, None)
        for pair in matched(sealed, here):
            yield pair


def matched(sealed: Sequence[Kept], events: Sequence[LoggedEvent]) -> Iterator[Pair]:
    """Which belongs to which, at one position: the same id first, then what is left, as an id may have been edited."""
    rest, left = deque(events), list[Kept]()
    for one in sealed:
        found = next((event for event in rest if event.id == one.entry.id), None)
        if found is None:
            left.append(one)
        else:
            rest.remove(found)
            yield one, found
    for one in left:
        yield (one, rest.popleft()) if rest else (one, None)
    for event in rest:
        yield None, event


async def logged(inspector: Inspecting, span: Span) -> AsyncIterator[LoggedEvent]:
    """The events of the log, page by page."""
    place: dict[str, Any] = {"after": _LOWEST, "after_id": _NO_ID}
    while True:
        rows = await inspector.rows("log_page", **span._asdict(), **place, limit=_PAGE)
        for row in rows:
            yield as_event(row)
        if len(rows) < _PAGE:
            return
        place = {"after": rows[-1][0], "after_id": rows[-1][1].hex()}  # SQLite asks for the position only


async def kept(inspector: Inspecting, segments: Mapping[date, int], span: Span) -> AsyncIterator[Kept]:
    """The entries of all links in the order of positions; a few links are held at a time."""
    opened: list[tuple[int, int, Kept, Iterator[Entry]]] = []
    upcoming, place, has_more, number = deque[tuple[Any, ...]](), (0, FIRST_DAY, 0), True, 0
    while True:
        if not upcoming and has_more:
            after, after_day, after_number = place
            rows = await inspector.rows(
                "sealed_entries", **span._asdict(), after=after, after_day=after_day, after_number=after_number,
                limit=_LINKS,
            )  # fmt: skip
            upcoming.extend(rows)
            has_more = len(rows) == _LINKS
            if rows:
                place = rows[-1][0], as_day(rows[-1][1]).isoformat(), rows[-1][2]
        while upcoming and (not opened or upcoming[0][0] <= opened[0][0]):
            _, day, link, content = upcoming.popleft()
            number += 1
            if link <= segments.get(as_day(day), 0) and len(content) % ENTRY_BYTES == 0:
                _open(opened, number, as_day(day), unpacked(content))
        if upcoming or not has_more:
            if not opened:
                return
            _, one, entry, others = heapq.heappop(opened)
            yield entry
            _open(opened, one, entry.day, others)


def _open(
    opened: list[tuple[int, int, Kept, Iterator[Entry]]], number: int, day: date, entries: Iterator[Entry]
) -> None:
    """Put the next entry of a link, if there is one, where its position belongs; *number* tells links apart."""
    entry = next(entries, None)
    if entry is not None:
        heapq.heappush(opened, (entry.position, number, Kept(entry, day), entries))
