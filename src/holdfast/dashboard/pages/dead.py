"""Dead letters: what failed for good, and what waits behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.dashboard.asking import DEAD_FIELDS, Ask
from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.board import Board

_LIMIT = 50


async def page(board: Board, ask: Ask) -> View:
    found = await board.inspector.dead(ask.dead_filter(), limit=_LIMIT, before=ask.number("before"))
    letters = [
        replace(one, payload=board.redaction.payload(one.payload), headers=board.redaction.headers(one.headers))
        for one in found
    ]
    before = letters[-1].delivery if len(letters) == _LIMIT else None
    return View(
        "dead", "Dead letters", {"letters": letters, "next_before": before},
        {
            "older": None if before is None else ask.kept(DEAD_FIELDS, before=before),
            "filter": ask.kept(DEAD_FIELDS),
            "subscriptions": [one.name for one in await board.inspector.subscriptions()],
        },
    )  # fmt: skip
