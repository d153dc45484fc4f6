"""Reading a store from its beginning to its end, a page at a time: memory does not grow with the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from holdfast.moving.rows import (
    MovedAttempt,
    MovedDelivery,
    MovedEvent,
    MovedReceipt,
    Waiting,
    as_attempt,
    as_delivery,
    as_event,
    as_receipt,
    as_waiting,
)
from holdfast.stores.columns import as_uuid
from holdfast.stores.filters import EventFilter
from holdfast.stores.inspecting import filter_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from holdfast.stores.inspecting import Inspecting

POSITIONS = 1_000
"""Of the log, looked at together."""
PAGE_BYTES = 8 * 2**20
"""Bytes of payloads after which a page ends."""
_ROWS = 1_000
NO_ID = UUID(int=0)


class Contents(NamedTuple):
    """Some events with all that belongs to them; without ``events``, what has outlived them."""

    events: Sequence[MovedEvent]
    receipts: Sequence[MovedReceipt]
    deliveries: Sequence[MovedDelivery]
    waiting: Sequence[Waiting]
    attempts: Sequence[MovedAttempt]


async def pages(
    inspector: Inspecting, filter: EventFilter | None = None, *, horizon: str | int | None = None,
    progress: Callable[[int], None] | None = None,
) -> AsyncIterator[list[MovedEvent]]:  # fmt: skip
    """
    The events that a filter means, in the order of the log: those that were committed when the first page is asked for, and
    no others, whoever publishes meanwhile. Pages of up to `POSITIONS` events and about `PAGE_BYTES`.

    Args:
        horizon: Of this store; what it shows is read. None: what can be seen now.
        progress: Takes how many positions of the log were looked at.

    Raises:
        ConfigurationError: Another program has stored what is no text.
    """
    if horizon is None:
        horizon = (await inspector.rows("horizon"))[0][0]
    ((low, high),) = await inspector.rows("log_span")
    if low is None:
        return
    asked = filter_parameters(filter or EventFilter()) | {"horizon": horizon, "max_bytes": PAGE_BYTES}
    after = low - 1
    while after < high:
        until = min(after + POSITIONS, high)
        rows = await inspector.rows("events_page", after=after, until_position=until, **asked)
        after = rows[-1][0] if rows and rows[0][-1] > len(rows) else until
        if rows:
            yield [as_event(row) for row in rows]
        if progress is not None:
            progress(after - low + 1)


async def outlived(inspector: Inspecting) -> AsyncIterator[list[str]]:
    """Ids of events that are gone from the log and have delivery rows."""
    async for rows in lists(inspector, "parked_without_event", NO_ID):
        yield [str(as_uuid(row[0])) for row in rows]


async def belonging(inspector: Inspecting, events: Sequence[MovedEvent]) -> Contents:
    """These events with all that belongs to them."""
    return (await of_ids(inspector, [one.id for one in events]))._replace(events=events)


async def of_ids(inspector: Inspecting, ids: Sequence[str]) -> Contents:
    """All that belongs to the events of these ids, but for themselves."""
    given = {"ids": [UUID(one) for one in ids]}
    return Contents(
        [],
        [as_receipt(row) for row in await inspector.rows("receipts_of", **given)],
        [as_delivery(row) for row in await inspector.rows("deliveries_of", **given)],
        [as_waiting(row) for row in await inspector.rows("waiting_of", **given)],
        [as_attempt(row) for row in await inspector.rows("attempts_of", **given)],
    )


async def events_of(inspector: Inspecting, ids: Sequence[str]) -> list[MovedEvent]:
    return [as_event(row) for row in await inspector.rows("events_of", ids=[UUID(one) for one in ids])]


async def lists(inspector: Inspecting, statement: str, after: Any) -> AsyncIterator[list[tuple[Any, ...]]]:
    """The rows of a statement that goes on after the number, or the id, of the last one."""
    while rows := await inspector.rows(statement, after=after, limit=_ROWS):
        yield rows
        last = rows[-1][0]
        after = last if isinstance(last, int) else as_uuid(last)
