"""Workers: who runs what, and when it was last heard of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board


async def page(board: Board, ask: Ask) -> View:  # noqa: ARG001 - there is nothing to ask
    return View("workers", "Workers", {"workers": await board.inspector.workers()}, {})
