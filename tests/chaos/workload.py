"""What publishers and workers of a campaign have in common: subscriptions, kinds of events, and the mood."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

LEASE_TTL = 2.0
MAX_ATTEMPTS = 3
RETRY_BASE = 0.2
TIMEOUT = 4.0
CONCURRENCY, THREADS = 32, 8
LONGEST_FAULT_S = 6.0
_LOOK_S = 0.5

# Kinds of events, by the last segment of the name, and how often they come while handlers are to make trouble.
# Seldom enough that workers and hot keys come to rest between: what nobody can catch up with proves nothing.
TROUBLE = {
    "fails": 200, "dead": 30, "reject": 30, "later": 100, "slow": 40, "poison": 1, "exits": 2, "cancels": 40, "never": 3,
    "blocks": 1,
}  # fmt: skip
PLAIN_WEIGHT = 9_500
BULK_NAME = "bulk.event"


@dataclass(frozen=True)
class Spec:
    """One subscription of the campaign."""

    kind: str = "external"  # "transactional", "batch"
    patterns: tuple[str, ...] = ("load.*", "chaos.*")
    sync: bool = False
    ordering: str = "key"
    partitions: int = 4
    breaker: int | None = None


SUBSCRIPTIONS = {
    "books": Spec("transactional", ("load.*",)),
    "books-threads": Spec("transactional", ("load.*",), sync=True, partitions=2),
    "mail": Spec(),
    "mail-threads": Spec(sync=True, partitions=2),
    "loose": Spec(patterns=("load.*", "bulk.*"), ordering="none", partitions=2),
    "batches": Spec("batch", ("load.*",), partitions=2),
    "fragile": Spec(patterns=("load.*",), partitions=2, breaker=20),
    "follow": Spec(patterns=("follow.*",), partitions=2),
}
# Those that are declared by a worker only while the mood names them: they come late, and go.
VISITORS = {"visitor-one": Spec(patterns=("load.*",)), "visitor-two": Spec("transactional", ("load.*",))}
SPECS = SUBSCRIPTIONS | VISITORS


@dataclass(frozen=True)
class Mood:
    """What programs shall do just now; the campaign writes it, they look at it."""

    trouble: bool = False
    """Handlers fail, die, sleep and so on."""
    transactions: bool = True
    """Publishers do more than plain publishes."""
    fragile_down: bool = False
    visitors: tuple[str, ...] = ()
    publishing: bool = True

    def write(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(vars(self)))
        fresh.replace(path)


class MoodReader:
    """The mood as it was at most half a second ago."""

    def __init__(self, path: str) -> None:
        self._path, self._until, self._mood = Path(path), 0.0, Mood()

    @property
    def now(self) -> Mood:
        if time.monotonic() > self._until:
            facts: dict[str, Any] = json.loads(self._path.read_text())
            self._mood = Mood(**facts | {"visitors": tuple(facts["visitors"])})
            self._until = time.monotonic() + _LOOK_S
        return self._mood


def end_with_the_campaign() -> None:
    """However the campaign ends, its programs do not outlive it: it holds the other end of their standard input."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: the interpreter could not end while a thread reads it
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def choose_name(random: Random, mood: Mood) -> str:
    kinds = {"plain": PLAIN_WEIGHT} | (TROUBLE if mood.trouble else {})
    return "load." + random.choices(list(kinds), list(kinds.values()))[0]
