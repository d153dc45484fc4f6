"""Schedules, and what was published for later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board

_SHOWN = 100


async def page(board: Board, ask: Ask) -> View:
    tenant = ask.text("tenant")
    data = {
        "schedules": await board.inspector.schedules(),
        "scheduled": await board.inspector.scheduled(tenant_id=tenant, limit=_SHOWN),
    }
    return View("schedules", "Schedules", data, {"shown": _SHOWN})
