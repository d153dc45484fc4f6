"""The event that tells of a dead delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.composing import DEFAULT_TENANT
from holdfast.errors import InvalidEvent
from holdfast.event import NewEvent
from holdfast.names import check_key, check_tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.event import Row

DEAD_EVENT = "holdfast.delivery.dead"


def dead_letter(
    row: Row, subscription: str, attempts: int, error: str, new_id: Callable[[], UUID]
) -> tuple[NewEvent, ...]:
    """An ordinary event about a delivery that ended dead; none when the dead one is such an event itself."""
    if row.name == DEAD_EVENT:
        return ()
    event_id = str(UUID(bytes=row.id))
    payload = {
        "event_id": event_id,
        "event_name": row.name,
        "subscription": subscription,
        "attempts": attempts,
        "error": error,
    }
    headers = {"causation_id": event_id, "correlation_id": _correlation(row) or event_id}
    return (
        NewEvent(
            new_id(),
            _valid(check_tenant, row.tenant_id) or DEFAULT_TENANT,
            DEAD_EVENT,
            _valid(check_key, row.key),
            msgspec.json.encode(payload),
            msgspec.json.encode(headers),
        ),
    )


def _valid(check: Callable[[Any], str | None], value: str | None) -> str | None:
    """The dead event may have been put there by another program, whatever the rules say."""
    try:
        return None if value is None else check(value)
    except InvalidEvent:
        return None


def _correlation(row: Row) -> str | None:
    try:
        headers = msgspec.json.decode(row.headers) if row.headers else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # of another program too: the event is dead for that, and its news has no need of it
    found = headers.get("correlation_id") if isinstance(headers, dict) else None
    return found if isinstance(found, str) else None
