"""The subscriptions of a run, of every kind, and what each of their handlers does with each event."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from holdfast.patterns import Matcher
from holdfast.subscription import Limit, RetryPolicy

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.size import Size

Style = Literal["async", "batch", "transactional", "sync", "transactional sync"]


class Act(Enum):
    """What a handler does with one event."""

    HANDLE = "handle"
    TAKE_LONG = "take long"
    PUBLISH = "publish"  # something that the event causes
    FAIL_FIRST = "fail first"
    TIME_OUT_FIRST = "time out first"
    PUT_OFF = "put off"
    QUIT_FIRST = "quit first"  # SystemExit: the worker stops, the attempt counts
    FAIL_ALWAYS = "fail always"
    REJECT = "reject"
    KILL = "kill"  # the process, each time: poison


ENDS_DEAD = frozenset({Act.FAIL_ALWAYS, Act.REJECT, Act.KILL})

# Of a thousand events, in a run with troubled handlers.
_TROUBLED = (
    (Act.TAKE_LONG, 120), (Act.PUBLISH, 120), (Act.FAIL_FIRST, 110), (Act.TIME_OUT_FIRST, 30), (Act.PUT_OFF, 40),
    (Act.FAIL_ALWAYS, 60), (Act.REJECT, 20),
)  # fmt: skip
_CALM = ((Act.TAKE_LONG, 100), (Act.PUBLISH, 100))
# A probe burns no attempt: whoever looks at the attempt, or at nothing, fails each of them.
FAILS_EACH_PROBE = frozenset({Act.FAIL_ALWAYS, Act.FAIL_FIRST, Act.TIME_OUT_FIRST, Act.QUIT_FIRST, Act.KILL})
_DEADLY = ((Act.KILL, 25), (Act.QUIT_FIRST, 15))


@dataclass(slots=True, eq=False)
class Declared:
    """One subscription of the run."""

    name: str
    patterns: tuple[str, ...]
    style: Style
    options: dict[str, Any]
    declared_at: float
    acts: tuple[tuple[Act, int], ...]
    matches: Matcher = field(init=False)

    def __post_init__(self) -> None:
        self.matches = Matcher(self.patterns)

    @property
    def is_transactional(self) -> bool:
        return self.style.startswith("transactional")

    @property
    def is_sync(self) -> bool:
        return self.style.endswith("sync") and self.style != "async"

    @property
    def is_ordered(self) -> bool:
        return bool(self.options["ordering"] == "key")

    @property
    def max_attempts(self) -> int:
        limit: int = self.options["retry"].max_attempts
        return limit

    def act_on(self, event_id: bytes) -> Act:
        """The same for each attempt, whoever runs it."""
        place = zlib.crc32(self.name.encode() + event_id) % 1000
        for act, share in self.acts:
            if place < share:
                return act
            place -= share
        return Act.HANDLE


_PATTERNS: tuple[tuple[str, ...], ...] = (("**",), ("order.*",), ("order.placed", "follow.*"))


def draw_subscriptions(random: Random, size: Size) -> list[Declared]:
    styles: list[Style] = ["async", "batch", "transactional", "sync", "transactional sync"]
    random.shuffle(styles)
    count = random.randint(*size.subscriptions)
    return [_draw(random, size, number, style) for number, style in enumerate(styles[:count])]


def draw_limits(random: Random, declared: Declared) -> list[Limit]:
    """In half of the cases none; low enough to be met, and high enough for what a run has."""
    rate = random.choice((4.0, 15.0, None))
    tenant = Limit("tenant", rate=rate, at_once=random.choice((1, 2, None)) if rate else 1, burst=1 if rate else None)
    key = Limit("key", rate=random.choice((4.0, 15.0)), burst=1)
    return random.choice(([], [], [tenant], [key, tenant] if declared.is_ordered else [tenant]))


def _draw(random: Random, size: Size, number: int, style: Style) -> Declared:
    breaker = random.choice((2, 4, None))
    acts: tuple[tuple[Act, int], ...] = _CALM if random.random() < 0.3 else _TROUBLED
    if random.random() < 0.3:
        acts += _DEADLY
    options: dict[str, Any] = {
        "ordering": "key" if random.random() < 0.75 else "none",
        "partitions": random.choice((1, 2, 3)),
        "concurrency": random.choice((1, 2, 8)),
        "retry": RetryPolicy(max_attempts=random.choice((2, 3, 5)), base=random.choice((0.1, 0.5, 1.2)), max_delay=2.0),
        "timeout": random.choice((0.6, 1.2, 3.0)),
        "transactional": style.startswith("transactional"),
        "batch": random.choice((2, 5)) if style == "batch" else None,
        "start": random.choice(("now", "beginning")),
        "on_dead": "hold" if random.random() < 0.25 else "continue",
        "breaker": breaker,
    }
    declared_at = 0.0 if random.random() < 0.75 else random.uniform(0.5, 4.0) / size.pace
    name = f"{number}-{style.replace(' ', '-')}"
    return Declared(name, random.choice(_PATTERNS), style, options, declared_at, acts)
