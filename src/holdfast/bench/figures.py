"""What is measured on each store, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from holdfast.bench import draining, latency, publishing
from holdfast.bench.workload import CALLERS, Numbers

if TYPE_CHECKING:
    from holdfast.bench.places import Kind

Measure = Callable[[str, int], Numbers]

_SLOWER: tuple[draining.Kind, ...] = ("sync", "transactional")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    events: int
    rounds: int
    publishes: int  # single publishes a round
    samples: int  # latencies a round

    @property
    def some(self) -> int:
        """Events for what takes longer."""
        return max(1, self.events // 20)

    @property
    def bulk(self) -> int:
        """Events of a bulk publish."""
        return min(self.events, 10_000)


QUICK = Scale(events=20_000, rounds=3, publishes=200, samples=20)
FULL = Scale(events=50_000, rounds=5, publishes=2_000, samples=100)
_TINY = 2_000  # below so many events, everything is small: a test that the benchmark works, not a measurement


def scale_of(form: Scale, events: int | None, rounds: int | None) -> Scale:
    """*form*, with so many events and rounds where they are given."""
    events, rounds = events or form.events, rounds or form.rounds
    if events < _TINY:
        return Scale(events, rounds, publishes=max(1, events // 10), samples=5)
    return Scale(events, rounds, form.publishes, form.samples)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing to measure: on a database that holds ``stored`` events, do so many.

    ``raw`` names the figure that it is compared with.
    """

    name: str
    measure: Measure
    events: int
    stored: int = 0
    raw: str | None = None


class Yardsticks(NamedTuple):
    """The same work by plain SQL. ``many_as``: how all events go in at once."""

    alone: Measure
    batches: Measure
    many: Measure
    many_as: str
    drain: Measure
    drain_overlapped: Measure | None


def figures(store: Kind, scale: Scale) -> list[Figure]:
    """All figures of a store, in the order in which they are shown."""
    raw = _yardsticks(store)
    chosen = [*_publishes(raw, scale), *_drains(raw, scale), Figure("idle latency", latency.by_publish, scale.samples)]
    if store == "postgresql":
        chosen.append(Figure("idle latency without NOTIFY", latency.by_insert, scale.samples))
    return chosen


def _yardsticks(store: Kind) -> Yardsticks:
    if store == "sqlite":
        from holdfast.bench import raw_sqlite as lite

        return Yardsticks(
            lite.publish_alone, lite.publish_batches, lite.publish_many, "one transaction", lite.drain, None
        )
    from holdfast.bench import raw_postgres as postgres

    return Yardsticks(
        postgres.publish_alone, postgres.publish_batches, postgres.publish_many, "one COPY", postgres.drain,
        postgres.drain_overlapped,
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


def _drains(raw: Yardsticks, scale: Scale) -> list[Figure]:
    def figure(name: str, measure: Measure, events: int, compared: str | None = None) -> Figure:
        return Figure(name, measure, events, stored=events, raw=compared)

    chosen = [figure("raw: drain", raw.drain, scale.events)]
    if raw.drain_overlapped is not None:
        chosen.append(figure("raw: drain, overlapped", raw.drain_overlapped, scale.events))
    sync, transactional = (partial(draining.drain, kind=kind) for kind in _SLOWER)
    return [
        *chosen,
        figure("drain, no-op async handler", draining.drain, scale.events, "raw: drain"),
        figure("drain, no-op sync handler", sync, scale.some),
        figure("drain, transactional handler", transactional, scale.some),
    ]
