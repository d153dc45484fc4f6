"""Subscriptions: how far each one is, and one of them with its partitions and replays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.charting import recent
from holdfast.dashboard.pages.overview import HOURS, recents, sentence
from holdfast.dashboard.rendering import View
from holdfast.errors import NotFound

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board

_REPLAYS = 20


async def page(board: Board, ask: Ask) -> View:
    status = await board.status(ask.text("tenant"))
    data = {
        "subscriptions": await board.inspector.subscriptions(), "status": status, "sentence": sentence(status),
        "recent": recents(status, await board.recent()),
    }  # fmt: skip
    return View("subscriptions", "Subscriptions", data, {})


async def one(board: Board, ask: Ask) -> View:
    """One subscription: ``?name=``."""
    name = ask.require("name")
    leases = await board.inspector.leases(name)  # raises NotFound with names that are near
    record = next(record for record in await board.inspector.subscriptions() if record.name == name)
    status = next((one for one in (await board.status()).subscriptions if one.name == name), None)
    if status is None:
        raise NotFound(f"{name} was registered a moment ago: reload the page")
    replays = [one for one in await board.inspector.replays(limit=200) if one.subscription == name]
    lately = recent((await board.recent()).subscriptions.get(name, ()))
    data = {
        "subscription": record, "figures": status, "recent": lately, "leases": leases, "replays": replays[:_REPLAYS],
    }  # fmt: skip
    return View("subscription", name, data, {"hours": HOURS})
