"""Overview: whether all is well, in one sentence, and the figures behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.charting import Recent, flow, recent
from holdfast.dashboard.rendering import View
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board
    from holdfast.stores.records import Samples, Status

HOURS = (1, 6, 24, 48)
"""How far back charts go."""

_REASONS_MAX = 3


async def page(board: Board, ask: Ask) -> View:
    status = await board.status(ask.text("tenant"))
    samples = await board.recent()
    data = {
        "status": status, "sentence": sentence(status), "flow": flow(samples), "recent": recents(status, samples),
        "storage": await board.inspector.storage(),
    }  # fmt: skip
    return View("overview", "Overview", data, {"hours": HOURS})


def recents(status: Status, samples: Samples) -> dict[str, Recent]:
    """The last minutes of each subscription."""
    return {one.name: recent(samples.subscriptions.get(one.name, ())) for one in status.subscriptions}


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
