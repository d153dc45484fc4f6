"""Audit: what was done, and what somebody was not let do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.asking import AUDIT_FIELDS, OUTCOMES
from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board

_LIMIT = 100


async def page(board: Board, ask: Ask) -> View:
    found = await board.inspector.audit(ask.audit_filter(), limit=_LIMIT, before=ask.number("before"))
    before = found[-1].id if len(found) == _LIMIT else None
    extra = {
        "older": None if before is None else ask.kept(AUDIT_FIELDS, before=before),
        "newest": ask.kept(AUDIT_FIELDS) if ask.text("before") else None,
        "outcomes": OUTCOMES,
    }
    return View("audit", "Audit", {"audit": found, "next_before": before}, extra)
