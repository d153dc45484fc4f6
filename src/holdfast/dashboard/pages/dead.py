"""Dead letters: what failed for good, by what it failed at, and what waits behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.dashboard.asking import DEAD_FIELDS, Ask
from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.board import Board

_LIMIT = 50
_BLOCKED = 20


async def page(board: Board, ask: Ask) -> View:
    chosen = ask.dead_filter()
    found = await board.inspector.dead(chosen, limit=_LIMIT, before=ask.number("before"))
    # What they say stands on the page of each event: fifty payloads would be a page nobody wants.
    letters = [replace(one, payload=None, headers=None) for one in found]
    before = letters[-1].delivery if len(letters) == _LIMIT else None
    data = {
        "groups": await board.inspector.dead_groups(chosen),
        "letters": letters,
        "next_before": before,
        "blocked": await board.inspector.blocked(chosen, limit=_BLOCKED),
    }
    extra = {
        "older": None if before is None else ask.kept(DEAD_FIELDS, before=before),
        "filter": ask.kept(DEAD_FIELDS),
        "within": lambda **more: ask.kept(DEAD_FIELDS, **more),
        "subscriptions": [one.name for one in await board.inspector.subscriptions()],
    }
    return View("dead", "Dead letters", data, extra)
