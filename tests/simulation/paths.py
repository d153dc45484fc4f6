"""Which ways through the engine a run has taken: a batch of seeds that never took one proves nothing about it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from holdfast.stores.values import State

if TYPE_CHECKING:
    from tests.simulation.world import World

# The engine says so in its log.
_LOGGED = {
    "breaker tripped": "the breaker trips",
    "breaker closed": "the breaker closes",
    "spool flushed": "the spool has drained",
    "spool adopted": "spooled events in",
    "session lost": "reading is interrupted",
    "lease lost": "the lease of epoch",
    "take-over finished": "what its lost worker had in hand is finished",
}

PATHS = frozenset(
    {
        *_LOGGED, "zombie fenced", "take-over", "recovery chunk", "suspect", "dead letter", "window paged", "read ahead",
        "transaction ids handed out again", "replay", "retry", "late commit", "tenant deferred",
    }
)  # fmt: skip


class Listener(logging.Filter):
    """Counts what the engine logs, and lets none of it out."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.criticals: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        for path, text in _LOGGED.items():
            if text in message:
                self.counts[path] += 1
        if record.levelno >= logging.CRITICAL:
            error = record.exc_info[1] if record.exc_info else None
            self.criticals.append(f"{message}: {error!r}")
        return False


def reached(world: World) -> Counter[str]:
    """How often the run took each way that its facts tell of."""
    counts: Counter[str] = Counter()
    for fact in world.server.facts:
        if fact.what == "acquired" and fact.about.lost:
            counts["take-over"] += 1
        elif (path := _FACTS.get(fact.what)) is not None:
            counts[path] += 1
        elif fact.what == "delivery" and fact.about[2] is State.DEAD:
            counts["dead letter"] += 1
    counts["tenant deferred"] += sum(fact.what == "deferred" for fact in world.server.facts)
    counts["late commit"] += _late_commits(world)
    counts["retry"] += sum(call.attempt > 1 for call in world.history.calls)
    counts["replay"] += sum(call.is_replay for call in world.history.calls)
    return counts


_FACTS = {
    "fenced": "zombie fenced", "counted": "suspect", "taken in": "recovery chunk", "page": "window paged",
    "read ahead": "read ahead", "handed out again": "transaction ids handed out again",
}  # fmt: skip


def _late_commits(world: World) -> int:
    """Events that committed after one with a greater position."""
    highest, late = 0, 0
    for fact in world.server.facts:
        if fact.what == "event":
            late += fact.about.row.position < highest
            highest = max(highest, fact.about.row.position)
    return late
