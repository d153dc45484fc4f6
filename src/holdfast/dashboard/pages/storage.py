"""Storage: what the store weighs, what may go, and what keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.rendering import View
from holdfast.moments import duration

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board

_OLDER_THAN = "30d"


async def page(board: Board, ask: Ask) -> View:
    older_than = ask.text("older_than") or _OLDER_THAN
    preview = await board.inspector.retention_preview(duration(older_than, field="older_than"))
    status = await board.status()
    data = {
        "retention": preview,
        "older_than": older_than,
        "facts": await board.inspector.facts(),
        "spool": status.spool,
    }
    return View("storage", "Storage", data, {})
