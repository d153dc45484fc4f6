"""The event that tells of a dead delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from holdfast.event import NewEvent

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
            new_id(), row.tenant_id, DEAD_EVENT, row.key, msgspec.json.encode(payload), msgspec.json.encode(headers)
        ),
    )


def _correlation(row: Row) -> str | None:
    try:
        headers = msgspec.json.decode(row.headers) if row.headers else {}
    except msgspec.DecodeError:
        return None
    found = headers.get("correlation_id") if isinstance(headers, dict) else None
    return found if isinstance(found, str) else None
