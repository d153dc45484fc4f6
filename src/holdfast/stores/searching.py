"""Finding events: by which way through the log, and how far in one go. The statements are each store's own.

A *way* is an order in which the log is walked: the log itself, newest first, the delivery rows of what failed, or a
search index. The events on it are looked at in pages until enough were found, `LOOKED_MAX` were looked at or
`LOOKED_SECONDS` are over, so that every call is quick however long the log and however slow the machine is; the page says
how far it came, and from where the next one goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from holdfast.ports import elapsed
from holdfast.stores.records import EventPage, EventRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from holdfast.stores.filters import EventFilter, PayloadMatch

LOOKED_MAX = 10_000
"""Events that one call looks at, at most."""

LOOKED_SECONDS = 0.2
"""A call begins no page, but for its second one, that would end later if it took as long as the one before."""

_PAGE = 1_000
_STATES = {"dead": "dead", "failed": "retrying"}
"""A status that some delivery row makes, and the state of that row."""

Rows = list[tuple[Any, ...]]


class Reading(NamedTuple):
    """How a store is read: rows of a named statement, and what becomes of its columns."""

    rows: Callable[..., Awaitable[Rows]]
    as_event: Callable[[Sequence[Any]], EventRecord]
    as_moment: Callable[[Any], datetime]


class Search(NamedTuple):
    """What is asked for. `status`, `correlation_id` and `payload` as in `Inspector.events`."""

    filter: EventFilter
    status: str | None
    correlation_id: str | None
    payload: PayloadMatch | None

    @property
    def ways(self) -> list[str]:
        """Search indexes that would serve, the most useful first."""
        asked = self.filter
        exact = asked.name is not None and "*" not in asked.name
        wanted = {
            "key": asked.key is not None,
            "correlation": self.correlation_id is not None,
            "tenant": asked.tenant_id is not None,
            "name": exact,
            "time": asked.since is not None or asked.until is not None,
        }
        return [way for way, is_wanted in wanted.items() if is_wanted]


class Way(NamedTuple):
    """
    A way through the log.

    Attributes:
        name: log, id, delivery, or a search index.
        candidates: The statement that walks it.
        would_help: The search index that would have been a better one.
    """

    name: str
    candidates: str
    would_help: str | None = None


async def way_through(search: Search, reading: Reading) -> Way:
    """
    The way that leads soonest to what is asked for.

    Each search index has the time, too: it is entered where the time asked for ends, and left where it begins.
    """
    if search.filter.event_id is not None:
        return Way("id", "candidates_by_id")
    if search.status in _STATES:
        return Way("delivery", "candidates_by_delivery")
    if not (wanted := search.ways):
        return Way("log", "candidates_by_log")
    ready = {row[0] for row in await reading.rows("search_indexes") if row[2]}
    usable = [way for way in wanted if way in ready]
    if not usable:
        return Way("log", "candidates_by_log", wanted[0])
    return Way(usable[0], f"candidates_by_{usable[0]}")


async def search_events(
    search: Search, reading: Reading, parameters: dict[str, Any], *, limit: int, before: int | None
) -> EventPage:
    """One page of what is asked for. *parameters*: the filter's, as the statements take them."""
    asked = parameters | {
        "correlation_id": search.correlation_id,
        "correlation_event": as_event_id(search.correlation_id),
        "payload_path": None if search.payload is None else list(search.payload.segments),
        "payload_value": None if search.payload is None else search.payload.value,
        "status": search.status,
        "delivery_state": _STATES.get(search.status or ""),
    }
    begun = last = elapsed()
    way = await way_through(search, reading)
    found: list[EventRecord] = []
    looked, back_to = 0, None
    page = limit  # all that it takes where an index says everything
    while True:
        size = min(page, LOOKED_MAX - looked)
        ahead = await reading.rows(way.candidates, **asked | {"before": before, "limit": size})
        if ahead:
            places = {"positions": [row[0] for row in ahead], "days": [row[1] for row in ahead]}
            rows = await reading.rows("page_events", **asked | places | {"limit": limit - len(found)})
            found += [reading.as_event(row) for row in rows]
            is_full = len(found) == limit
            seen = places["positions"].index(found[-1].position) + 1 if is_full else len(ahead)
            looked += seen
            before, back_to = ahead[seen - 1][0], reading.as_moment(ahead[seen - 1][2])
            if is_full:
                return EventPage(tuple(found), before, looked, back_to, way.name, way.would_help)
        if len(ahead) < size:
            return EventPage(tuple(found), None, looked, back_to, way.name, None)
        now = elapsed()
        seconds_after_one_more = now + (now - last) - begun
        if looked >= LOOKED_MAX or (page > limit and seconds_after_one_more >= LOOKED_SECONDS):
            return EventPage(tuple(found), before, looked, back_to, way.name, way.would_help)
        page, last = limit + _PAGE, now


def as_event_id(correlation_id: str | None) -> UUID | None:
    """The first event of those that share a correlation is named by it."""
    try:
        return None if correlation_id is None else UUID(correlation_id)
    except ValueError:
        return None
