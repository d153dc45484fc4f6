"""Audit: what was done, and what somebody was not let do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board

_LIMIT = 100


async def page(board: Board, ask: Ask) -> View:
    found = await board.inspector.audit(limit=_LIMIT, before=ask.number("before"))
    before = found[-1].id if len(found) == _LIMIT else None
    older = None if before is None else ask.kept((), before=before)
    return View("audit", "Audit", {"audit": found, "next_before": before}, {"older": older})
