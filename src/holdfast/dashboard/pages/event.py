"""Event: what it says, what became of it in each subscription, and why."""

from __future__ import annotations

from dataclasses import replace
from pprint import pformat
from textwrap import indent
from typing import TYPE_CHECKING

from holdfast.dashboard.rendering import View

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board
    from holdfast.stores.records import EventDetail


async def page(board: Board, ask: Ask) -> View:
    event_id = ask.id("event")
    assert event_id is not None, "the route has a UUID in it"
    found = await board.inspector.event(event_id)
    shown = replace(
        found, payload=board.redaction.payload(found.payload), headers=board.redaction.headers(found.headers)
    )
    return View("event", found.name, {"event": shown}, {"fixture": fixture(shown)})


def fixture(event: EventDetail) -> str:
    """Python that publishes the same again, for a test. Hidden fields stay hidden."""
    options = {"tenant_id": event.tenant_id, "key": event.key, "headers": event.headers or None}
    lines = [f"    {name}={pformat(value, width=100)},\n" for name, value in options.items() if value is not None]
    payload = indent(pformat(event.payload, width=100, sort_dicts=False), "    ")
    return f"await bus.publish(\n    {event.name!r},\n{payload},\n{''.join(lines)})\n"
