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
    data = {
        "storage": await board.inspector.storage(),
        "retention": await board.inspector.retention_preview(duration(older_than, field="older_than")),
        "older_than": older_than,
        "search_indexes": await board.inspector.search_indexes(),
        # Not by itself: an SQLite file is copied and checked for it.
        "facts": await board.inspector.facts() if ask.text("doctor") else None,
        "spool": (await board.status()).spool,
    }
    return View("storage", "Storage", data, {"live": False})
