"""What each page shows: a function of the store and of what the URL asks for. It returns data; nothing here is HTML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from holdfast.dashboard.asking import Ask
from holdfast.dashboard.board import Board
from holdfast.dashboard.pages import audit, dead, event, events, overview, schedules, storage, subscriptions, workers
from holdfast.dashboard.rendering import View

Page: TypeAlias = Callable[[Board, Ask], Awaitable[View]]

PAGES: dict[str, Page] = {
    "/overview": overview.page,
    "/events": events.page,
    "/events/{event:uuid}": event.page,
    "/subscriptions": subscriptions.page,
    "/subscription": subscriptions.one,
    "/dead": dead.page,
    "/schedules": schedules.page,
    "/workers": workers.page,
    "/storage": storage.page,
    "/audit": audit.page,
}
"""Pages by their path. Each one's JSON twin has ``.json`` behind it, and what refreshes itself ``/live``."""
