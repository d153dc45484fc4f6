"""What a seed lets go wrong, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Weather:
    """How requests to the server fare. All are chances from 0 to 1."""

    refused: float = 0.0  # an error before: nothing was done
    cut: float = 0.0  # an error after: whether it was done, or will be, nobody knows
    slow: float = 0.0
    hint_lost: float = 0.0


CALM = Weather()
AWAY = Weather(refused=1.0)


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of a run. Each seed has some of them only: together they would hide what one of them does alone."""

    weather: Weather = CALM
    every: float = 2.0
    """Seconds between two blows, on average."""
    blows: tuple[str, ...] = ()
    disorder: float = 0.0
    skew: float = 0.0
    pooler: bool = False
    """Sessions outlive a crash of the server, as behind a pooler: only the incarnation tells."""
    one_host: bool = False
    spool_breaks: float = 0.0


BLOWS = ("kill", "pause", "crash", "cut readers", "away", "step clock", "pause subscription", "retry dead", "replay")


@dataclass(slots=True)
class Fate:
    """What becomes of one request."""

    refused: bool = False
    cut_after: float | None = None
    delay: float = 0.001


@dataclass(slots=True)
class Sky:
    """The weather now: `heal` ends all that goes wrong."""

    random: Random
    weather: Weather = field(default=CALM)

    def fate(self) -> Fate:
        weather, draw = self.weather, self.random.random
        if weather is CALM:
            return Fate(delay=0.0005 + 0.002 * draw())
        if weather.refused and draw() < weather.refused:
            return Fate(refused=True, delay=0.05 * draw())
        delay = (2.0 * draw() ** 3) if draw() < weather.slow else 0.0005 + 0.002 * draw()
        cut_after = 2 * delay * draw() if draw() < weather.cut else None
        return Fate(cut_after=cut_after, delay=delay)

    def pause(self) -> float:
        """How long a step inside of a request takes."""
        if self.weather.slow and self.random.random() < self.weather.slow:
            return self.random.random() ** 3
        return 0.0005

    def loses_hint(self) -> bool:
        return self.random.random() < self.weather.hint_lost


def draw_faults(random: Random, pace: float) -> Faults:
    """One seed in eight has no faults at all: what must hold without them is stricter."""
    disorder = random.choice((0.0, 0.1, 0.5))
    if random.random() < 0.125:
        return Faults(disorder=disorder)
    weather = CALM
    if random.random() < 0.7:
        weather = Weather(
            refused=random.choice((0.0, 0.02, 0.1)), cut=random.choice((0.0, 0.02, 0.1)),
            slow=random.choice((0.0, 0.02, 0.1)), hint_lost=random.choice((0.0, 0.5, 1.0)),
        )  # fmt: skip
    blows = tuple(blow for blow in BLOWS if random.random() < 0.45)
    return Faults(
        weather, every=random.uniform(0.5, 3.0) / pace, blows=blows, disorder=disorder, skew=random.uniform(-1e6, 1e6),
        pooler=random.random() < 0.5, one_host=random.random() < 0.5,
        spool_breaks=random.choice((0.0, 0.0, 0.02)),
    )  # fmt: skip


def worse(weather: Weather) -> Weather:
    """The same, but the server cannot be reached."""
    return replace(weather, refused=1.0)
