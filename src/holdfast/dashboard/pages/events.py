"""Events: found, and watched as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.asking import EVENT_FIELDS, STATUSES, Ask
from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.board import Board

_LIMIT = 50
_FIELDS = (*EVENT_FIELDS, "status")


async def page(board: Board, ask: Ask) -> View:
    status = ask.one_of("status", STATUSES)
    found = await board.inspector.events(ask.event_filter(), status=status, limit=_LIMIT, before=ask.number("before"))
    older = None if found.next_before is None else ask.kept(_FIELDS, before=found.next_before)
    return View(
        "events", "Events", {"events": found.events, "next_before": found.next_before},
        {"older": older, "is_first": ask.text("before") is None, "statuses": STATUSES, "fields": _FIELDS},
    )  # fmt: skip
