"""Overview: whether all is well, in one sentence, and the figures behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.rendering import View
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board
    from holdfast.stores.records import Status

_REASONS_MAX = 3


async def page(board: Board, ask: Ask) -> View:
    status = await board.status(ask.text("tenant"))
    return View("overview", "Overview", {"status": status, "sentence": sentence(status)}, {})


def sentence(status: Status) -> str:
    """What there is to say of the store, without the verdict itself."""
    reasons = [reason.text for reason in status.verdict.reasons]
    if not reasons:
        lag = sum(one.lag for one in status.subscriptions)
        waiting = f"{counted(lag, 'event is', 'events are')} on the way" if lag else "nothing waits"
        known = counted(len(status.subscriptions), "subscription")
        return f"{waiting}; {known}, {counted(status.workers, 'live worker')}"
    more = len(reasons) - _REASONS_MAX
    return "; ".join(reasons[:_REASONS_MAX]) + (f"; and {more} more" if more > 0 else "")
