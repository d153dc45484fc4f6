"""What both stores decide about subscriptions that lag behind retention. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.composing import DEFAULT_TENANT
from holdfast.stores.values import LeftBehind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from holdfast.event import Row
    from holdfast.stores.values import BehindRetention, Laggard

LET_GO_EVENT = "holdfast.subscription.let_go"


def all_let_go(choices: Sequence[BehindRetention]) -> bool:
    """Whether a part of the log that these need is needed only by those who let go of it."""
    return bool(choices) and "hold" not in choices


def page_of(found: Sequence[tuple[Row, int | None]], last: int | None) -> LeftBehind:
    """A page from its events, each with its delivery row if it has one, and the position that it reaches."""
    return LeftBehind([row for row, _ in found], [delivery for _, delivery in found if delivery is not None], last)


def advanced(laggard: Laggard, page: LeftBehind) -> dict[str, Any]:
    """The parameters with which a page is let go of."""
    positions = [row.position for row in page.rows]
    return identified(laggard) | {
        "reached": page.position, "events": len(positions), "first": min(positions, default=None),
        "last": max(positions, default=None),
    }  # fmt: skip


def identified(laggard: Laggard) -> dict[str, Any]:
    """The parameters that say how far somebody has got, so that nobody goes on who was overtaken."""
    return {
        "subscription": laggard.subscription, "day": laggard.day, "shown": laggard.shown, "position": laggard.position,
        "choice": laggard.choice,
    }  # fmt: skip


def told(laggard: Laggard, archive: str | None) -> dict[str, Any]:
    """What the visible record says of it."""
    facts: dict[str, Any] = {
        "choice": laggard.choice, "first_position": laggard.first_position, "last_position": laggard.last_position,
    }  # fmt: skip
    if laggard.day is not None:
        facts["day"] = laggard.day.isoformat()
    return facts if archive is None else facts | {"archive": archive}


def record_of(laggard: Laggard, archive: str | None) -> dict[str, Any]:
    """The parameters of its audit row."""
    detail = msgspec.json.encode(told(laggard, archive)).decode()
    return {"target": laggard.name, "detail": detail, "events": laggard.events}


def news_of(laggard: Laggard, archive: str | None, event_id: UUID) -> dict[str, Any]:
    """The parameters of the event that tells of it."""
    payload = {"subscription": laggard.name, "events": laggard.events} | told(laggard, archive)
    return {
        "id": event_id, "tenant_id": DEFAULT_TENANT, "name": LET_GO_EVENT, "key": laggard.name,
        "payload": msgspec.json.encode(payload).decode(), "headers": None,
    }  # fmt: skip
