"""What is measured on each store, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from holdfast.bench import draining, idle, latency, publishing
from holdfast.bench.loads import Load
from holdfast.bench.workload import CALLERS, Numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.bench.places import Kind

Measure = Callable[[str, int], Numbers]
Form = Literal["quick", "full", "large"]

DRAIN = "drain, no-op async handler"

_OTHERS: tuple[draining.Kind, ...] = ("reading", "sync", "transactional")


@dataclass(frozen=True, slots=True)
class Scale:
    """
    How much is measured.

    Attributes:
        form: "quick": what is over in minutes; "full": all; "large": only what has to stand 10 million events.
        events: Of a drain.
        grown: Of a large backlog, a long history, a full day.
        rounds: Of each figure.
        publishes: One after the other, a round.
        samples: Latencies, a round.
        seconds: For what is watched over time.
    """

    form: Form
    events: int
    grown: int
    rounds: int
    publishes: int = 2_000
    samples: int = 100
    seconds: int = 10

    @property
    def some(self) -> int:
        """Events for what takes longer."""
        return max(1, self.events // 10)

    @property
    def bulk(self) -> int:
        """Events of a bulk publish."""
        return min(self.events, 10_000)


_FORMS: dict[Form, Scale] = {
    "quick": Scale("quick", events=20_000, grown=400_000, rounds=3, publishes=200, samples=20),
    "full": Scale("full", events=50_000, grown=1_000_000, rounds=5),
    "large": Scale("large", events=50_000, grown=10_000_000, rounds=1),
}
_TINY = 2_000  # below so many events, everything is small: a test that the benchmark works, not a measurement


def scale_of(form: Form, events: int | None = None, rounds: int | None = None) -> Scale:
    """A form, with so many rounds and so many events, of a drain or (large) of what has grown, where they are given."""
    usual = _FORMS[form]
    scale = replace(usual, rounds=rounds or usual.rounds)
    if events is None:
        return scale
    grown = events if form == "large" else events * usual.grown // usual.events
    scale = replace(scale, events=min(events, usual.events) if form == "large" else events, grown=grown)
    return scale if events >= _TINY else replace(scale, publishes=max(1, events // 10), samples=5, seconds=1)


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One thing to measure: on a database that holds what is ``stored``, do so many.

    Attributes:
        events: Or seconds, of what is watched over time.
        stored: So many events that nobody has handled, or a `Load`.
        raw: The figure that it is compared with: plain SQL, or Holdfast under other conditions.
    """

    name: str
    measure: Measure
    events: int
    stored: int | Load = 0
    raw: str | None = None

    @property
    def load(self) -> Load:
        return Load(self.stored) if isinstance(self.stored, int) else self.stored


class Yardsticks(NamedTuple):
    """The same work by plain SQL. ``many_as``: how all events go in at once. Drains by name, the best one last."""

    alone: Measure
    batches: Measure
    many: Measure
    many_as: str
    drains: dict[str, Measure]
    transactional: dict[str, Measure]


def figures(store: Kind, scale: Scale, only: str = "") -> list[Figure]:
    """The figures of a store whose name contains *only*, in the order in which they are shown, and what these need."""
    plain = Figure(DRAIN, draining.drain, scale.events, stored=scale.events)
    chosen = [plain] if scale.form == "large" else _common(store, scale, plain)
    if scale.form != "quick":
        chosen += _backlogs(scale)
    if store == "postgresql":
        from holdfast.bench import alternatives
        from holdfast.bench.figures_postgres import more

        chosen += more(scale)
        if scale.form == "full":
            chosen += alternatives.figures_of(scale)
    return _narrowed(chosen, only)


def _common(store: Kind, scale: Scale, plain: Figure) -> list[Figure]:
    raw = _yardsticks(store)
    chosen = [
        *_publishes(raw, scale),
        *_drains(raw, scale, plain),
        Figure("idle latency", latency.by_publish, scale.samples),
    ]
    if store == "sqlite":  # no store is needed for it, and this one is always there
        chosen.append(Figure("import holdfast", idle.imported, scale.seconds))
    return chosen


def _yardsticks(store: Kind) -> Yardsticks:
    if store == "sqlite":
        from holdfast.bench import raw_sqlite as lite

        return Yardsticks(
            lite.publish_alone, lite.publish_batches, lite.publish_many, "one transaction",
            drains={"raw: drain": lite.drain}, transactional={},
        )  # fmt: skip
    from holdfast.bench import raw_postgres as postgres
    from holdfast.bench import raw_transactions

    return Yardsticks(
        postgres.publish_alone, postgres.publish_batches, postgres.publish_many, "one COPY",
        drains={"raw: drain": postgres.drain, "raw: drain, overlapped": postgres.drain_overlapped},
        transactional={"raw: drain, a transaction an event": raw_transactions.drain},
    )  # fmt: skip


def _publishes(raw: Yardsticks, scale: Scale) -> list[Figure]:
    alone, batches, many = "raw: one INSERT an event", f"raw: batches of {CALLERS}", f"raw: {raw.many_as}"
    return [
        Figure(alone, raw.alone, scale.publishes),
        Figure("publish alone", publishing.alone, scale.publishes, raw=alone),
        Figure(batches, raw.batches, scale.bulk),
        Figure(f"publish, {CALLERS} callers", publishing.grouped, scale.bulk, raw=batches),
        Figure(many, raw.many, scale.bulk),
        Figure("publish_many", publishing.many, scale.bulk, raw=many),
    ]


def _drains(raw: Yardsticks, scale: Scale, plain: Figure) -> list[Figure]:
    some = scale.some
    reading, sync, transactional = (partial(draining.drain, kind=kind) for kind in _OTHERS)
    return [
        *(Figure(name, measure, scale.events, stored=scale.events) for name, measure in raw.drains.items()),
        replace(plain, raw=[*raw.drains][-1]),
        Figure("drain, handler that reads the payload", reading, scale.events, stored=scale.events, raw=DRAIN),
        Figure("drain, no-op sync handler", sync, scale.events, stored=scale.events, raw=DRAIN),
        *(Figure(name, measure, some, stored=some) for name, measure in raw.transactional.items()),
        Figure(
            "drain, transactional handler", transactional, some, stored=some, raw=next(iter(raw.transactional), None)
        ),
    ]


def _backlogs(scale: Scale) -> list[Figure]:
    small, large = scale.grown // 10, scale.grown
    return [
        Figure("drain of a small backlog", draining.drain, small, stored=small),
        Figure("drain of a large backlog", draining.drain, large, stored=large),
    ]


def _narrowed(chosen: Sequence[Figure], only: str) -> list[Figure]:
    """Those whose name contains *only*, and what they are compared with, directly or in turn."""
    wanted = {figure.name for figure in chosen if only in figure.name}
    while more := {figure.raw for figure in chosen if figure.name in wanted and figure.raw is not None} - wanted:
        wanted |= more
    return [figure for figure in chosen if figure.name in wanted]
