"""Events: found, and watched as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.asking import EVENT_FIELDS, STATUSES, Ask
from holdfast.dashboard.rendering import View
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from holdfast.dashboard.board import Board
    from holdfast.stores.filters import PayloadMatch

_LIMIT = 50
_FIELDS = (*EVENT_FIELDS, "status", "correlation", "path", "value")


async def page(board: Board, ask: Ask) -> View:
    status = ask.one_of("status", STATUSES)
    payload = ask.payload_match()
    require_shown(board, payload)
    chosen = ask.event_filter()
    found = await board.inspector.events(
        chosen, status=status, correlation_id=ask.text("correlation"), payload=payload, limit=_LIMIT,
        before=ask.number("before"),
    )  # fmt: skip
    # Of what the planner knows nothing about, there is no estimate.
    is_plain = status is None and payload is None and ask.text("correlation") is None
    sealed = payload is not None and bool(await board.inspector.keys())
    older = None if found.next_before is None else ask.kept(_FIELDS, before=found.next_before)
    return View(
        "events", "Events",
        {"page": found, "estimate": await board.inspector.estimate(chosen) if is_plain else None},
        {"older": older, "newest": ask.kept(_FIELDS) if ask.text("before") else None, "statuses": STATUSES,
         "has_sealed": sealed},
    )  # fmt: skip


def require_shown(board: Board, payload: PayloadMatch | None) -> None:
    """Raise InvalidInput where a field that is never shown is asked for: the answer would tell it."""
    if payload is not None and board.redaction.covers(payload.segments):
        raise InvalidInput("path", "is hidden by the redaction rules", "search by another field")
