"""Event: what it says, what became of it in each subscription, and why; what caused it, and what it caused."""

from __future__ import annotations

import re
from dataclasses import replace
from pprint import pformat
from textwrap import indent
from typing import TYPE_CHECKING, Any

from holdfast.dashboard.pages.lineage import picture
from holdfast.dashboard.rendering import View
from holdfast.encrypted import is_sealed
from holdfast.errors import NotFound

if TYPE_CHECKING:
    from uuid import UUID

    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board
    from holdfast.stores.records import CausationTree, EventDetail

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_CORRELATION = "correlation_id"
_SETTLED = {"processed", "dead", "discarded"}


async def page(board: Board, ask: Ask) -> View:
    event_id = ask.id("event")
    assert event_id is not None, "the route has a UUID in it"
    found = await board.inspector.event(event_id)
    shown = replace(
        found, payload=board.redaction.payload(found.payload), headers=board.redaction.headers(found.headers)
    )
    tree = await causation(board, event_id)
    trace_id = trace_of(found.headers)
    extra = {
        "fixture": fixture(shown),
        "picture": None if tree is None else picture(tree),
        "trace_id": trace_id,
        "trace_url": board.trace_url.replace("{trace_id}", trace_id) if board.trace_url and trace_id else None,
        "correlation": shown.headers.get(_CORRELATION) if isinstance(shown.headers, dict) else None,
        "is_redacted": board.redaction.hides(found.payload),
        "is_encrypted": is_sealed(found.payload),
        # Looking for effects may take long, and of an event that is settled nothing changes by itself.
        "live": any(one.state not in _SETTLED for one in found.deliveries),
    }
    return View("event", found.name, {"event": shown, "causation": tree}, extra)


async def causation(board: Board, event_id: UUID) -> CausationTree | None:
    """The tree; None for a dead letter whose event retention has dropped."""
    try:
        return await board.inspector.causation(event_id)
    except NotFound:
        return None


def trace_of(headers: Any) -> str | None:
    """The trace that the event was published in, by the W3C's header."""
    said = headers.get("traceparent") if isinstance(headers, dict) else None
    match = _TRACEPARENT.fullmatch(said) if isinstance(said, str) else None
    return match[1] if match else None


def fixture(event: EventDetail) -> str:
    """Python that publishes the same again, for a test. Hidden fields stay hidden."""
    options = {"tenant_id": event.tenant_id, "key": event.key, "headers": event.headers or None}
    lines = [f"    {name}={pformat(value, width=100)},\n" for name, value in options.items() if value is not None]
    payload = indent(pformat(event.payload, width=100, sort_dicts=False), "    ")
    return f"await bus.publish(\n    {event.name!r},\n{payload},\n{''.join(lines)})\n"
