"""How the benchmark judges, draws and chooses; that it measures, see tests/acceptance/test_bench.py."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from holdfast.bench import plots, report, run, targets
from holdfast.bench.figures import DRAIN, Figure, figures, scale_of
from holdfast.bench.workload import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bench.loads import Load

# Store, figure, number, the worst value that is good enough, and a value that is not.
EDGES = [
    ("postgresql", "publish alone", "ratio", 1.15, 1.16),
    ("postgresql", "publish, 200 callers", "ratio", 0.5, 0.49),
    ("postgresql", "publish_many", "ratio", 0.7, 0.69),
    ("postgresql", "publish in the caller's transaction", "statements", 1, 2),
    ("postgresql", DRAIN, "ratio", 0.6, 0.59),
    ("postgresql", "drain, no-op sync handler", "ratio", 0.3, 0.29),
    ("postgresql", "drain, transactional handler", "ratio", 0.8, 0.79),
    ("postgresql", "drain, two started workers", "ratio", 1.3, 1.29),
    ("postgresql", "idle latency", "p50_ms", 1.0, 1.01),
    ("postgresql", "idle latency", "p99_ms", 5.0, 5.01),
    ("postgresql", "idle latency without NOTIFY", "p99_ms", 59.9, 60),
    ("postgresql", "latency while 5,000 events/s flow", "published_per_s", 4_900, 4_899),
    ("postgresql", "latency while 5,000 events/s flow", "p50_ms", 10, 10.01),
    ("postgresql", "latency while 5,000 events/s flow", "p99_ms", 50, 50.01),
    ("postgresql", "drain while vacuum is held back", "ratio", 0.95, 0.94),
    ("postgresql", "drain while vacuum is held back", "dead_rows", 999, 1_000),
    ("postgresql", "drain by 100 subscriptions", "ratio", 0.9, 0.89),
    ("postgresql", "drain, every event another key", "ratio", 0.9, 0.89),
    ("postgresql", "drain with a long history", "ratio", 0.9, 0.89),
    ("postgresql", "drain of a large backlog", "peak_mib", 199.9, 200),
    ("postgresql", "drain of a large backlog", "start_ms", 4_999, 5_000),
    ("postgresql", "backlog taken over after a kill", "peak_mib", 199.9, 200),
    ("postgresql", "backlog taken over after a kill", "start_ms", 4_999, 5_000),
    ("postgresql", "backlog taken over after a kill", "read_share", 0.99, 1),
    ("postgresql", "retention drop of a full day", "slowest_ms", 250, 250.1),
    ("postgresql", "retention drop of a full day", "dip_percent", 9.9, 10),
    ("postgresql", "idle worker, 50 subscriptions", "cpu_percent", 1.49, 1.5),
    ("sqlite", "publish alone", "ratio", 1.2, 1.21),
    ("sqlite", DRAIN, "ratio", 0.4, 0.39),
    ("sqlite", "import holdfast", "p50_ms", 119.9, 120),
]


def measured(figure: str, *, store: str = "postgresql", raw: str | None = None, **median: float) -> dict[str, Any]:
    return {store: {"facts": {}, "figures": {figure: {"median": median, "raw": raw, "load": {}}}}}


@pytest.mark.parametrize(("store", "figure", "number", "good", "bad"), EDGES)
def test_a_target_is_met_up_to_its_bound_and_not_beyond(store, figure, number, good, bad):
    for value, met, word in ((good, True, ": met"), (bad, False, ": NOT MET")):
        found = measured(figure, store=store, **{number: value})
        (judged,) = targets.judge(found)
        assert (judged["number"], judged["value"], judged["met"]) == (number, value, met)
        assert targets.verdicts(found)[0].endswith(word)


class Empty:
    """A place for figures that measure nothing of a store."""

    name, facts = "sqlite", {}

    @contextmanager
    def loaded(self, load: Load, *, keep: bool) -> Iterator[str]:
        yield "sqlite://"


def fine(dsn: str, events: int) -> dict[str, float]:
    return {"events_per_s": 2.0 * events}


def broken(dsn: str, events: int) -> dict[str, float]:
    raise TimeoutError(f"{events} events are locked")


def test_what_cannot_be_measured_is_reported_and_all_the_rest_is_kept():
    chosen = [
        Figure("raw: one", fine, 10),
        Figure("one", fine, 20, raw="raw: one"),
        Figure("two", broken, 3, raw="one"),
    ]
    found = {"sqlite": run._measure_store(Empty(), chosen, 2, lambda text: None)}
    figures = found["sqlite"]["figures"]
    assert figures["one"]["median"] == {"events_per_s": 40.0, "ratio": 2.0}
    assert figures["two"]["median"] == {}
    assert targets.flaws(found) == [f"sqlite: two: round {n}: TimeoutError: 3 events are locked" for n in (1, 2)]
    assert targets.verdicts(found) == [f"NOT RIGHT: {flaw}" for flaw in targets.flaws(found)]


def test_every_target_is_judged_above_and_measured_by_the_full_form():
    assert [target[:3] for target in targets.TARGETS] == [edge[:3] for edge in EDGES]
    for store in ("sqlite", "postgresql"):
        names = {figure.name for figure in figures(store, scale_of("full"))}
        assert {target.figure for target in targets.TARGETS if target.store == store} <= names


def test_what_was_not_measured_or_lost_altogether_is_not_judged():
    assert targets.judge({}) == []
    assert targets.judge(measured("idle latency", lost=5.0)) == []


def test_a_verdict_says_what_the_ratio_is_to():
    found = measured(DRAIN, raw="raw: drain, overlapped", ratio=0.5)
    assert targets.verdicts(found)[0] == (f"postgresql: {DRAIN}: 0.50 of raw: drain, overlapped, at least 0.6: NOT MET")


def test_a_ratio_is_taken_inside_each_round_of_rates_or_of_times():
    rates = [{"events_per_s": rate, "p50_ms": 9.0} for rate in (50.0, 10.0, 30.0)]
    assert report.ratio(rates, [{"events_per_s": rate} for rate in (100.0, 10.0, 50.0)]) == 0.6
    assert report.ratio([{"p50_ms": 3.0}], [{"p50_ms": 2.0}]) == 1.5
    assert report.ratio([{"lost": 5.0}], [{"p50_ms": 2.0}]) is None


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
@pytest.mark.parametrize("form", ["quick", "full", "large"])
def test_figures_have_names_of_their_own_and_are_compared_with_others_of_the_form(store, form):
    chosen = figures(store, scale_of(form))
    names = [figure.name for figure in chosen]
    assert len(names) == len(set(names))
    assert {figure.raw for figure in chosen} - {None} <= set(names)


def test_chosen_figures_bring_along_what_they_are_compared_with():
    names = [figure.name for figure in figures("postgresql", scale_of("quick"), "sync handler")]
    assert names == ["raw: drain, overlapped", DRAIN, "drain, no-op sync handler"]


def test_events_are_those_of_a_drain_or_of_what_has_grown():
    quick, large = scale_of("quick", events=10_000, rounds=7), scale_of("large", events=5_000_000)
    assert (quick.events, quick.rounds) == (10_000, 7)
    assert (large.events, large.grown) == (50_000, 5_000_000)
    assert scale_of("full").grown == 1_000_000
    assert scale_of("large").grown == 10_000_000


def test_bars_are_as_long_as_the_rates_are_high():
    stores = {"sqlite": {"figures": {"raw: one": rated(100.0), "two < three": rated(50.0)}}}
    image = plots.plots(stores)["sqlite-rates"]
    first, second = map(float, re.findall(r'width="([\d.]+)" height="15"', image))
    assert first == pytest.approx(2 * second, abs=0.2)
    assert "two < three" in [text.text for text in ET.fromstring(image)]


def rated(rate: float, **load: int) -> dict[str, Any]:
    return {"median": {"events_per_s": rate}, "load": {"events": 100, "history": 0, **load}}


def test_cost_is_drawn_over_backlog_and_over_history_in_their_order():
    drains = {
        DRAIN: rated(50_000.0), "drain with a long history": rated(20_000.0, history=1_000),
        "drain with some history": rated(40_000.0, history=500), "drain of a large backlog": rated(25_000.0, events=200),
        "drain, 10,000 keys": rated(1.0),
    }  # fmt: skip
    images = plots.plots({"postgresql": {"figures": drains}})
    assert list(images) == ["postgresql-rates", "postgresql-backlog", "postgresql-history"]
    assert points(images["postgresql-backlog"]) == [(0.5, 0.5), (1.0, 1.0)]
    assert points(images["postgresql-history"]) == [(0.0, 0.4), (0.5, 0.5), (1.0, 1.0)]


def test_latencies_are_drawn_as_what_share_was_no_slower():
    # A hundred events: each percentile is that of so many of them, from 0.1 ms to 100 ms.
    image = plots.plots(measured("idle latency", **spread([10 ** (one / 33 - 4) for one in range(100)])))
    drawn = points(image["postgresql-latency"])
    assert [up for _, up in drawn] == [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]
    assert [along for along, _ in drawn] == [0.0, 0.09, 0.24, 0.5, 0.75, 0.9, 0.99, 1.0]
    assert [label for label in ("0.1", "1", "10", "100") if f">{label}<" in image["postgresql-latency"]] == [
        "0.1",
        "1",
        "10",
        "100",
    ]


def points(image: str) -> list[tuple[float, float]]:
    """Of the only line: how far along, and how far up the highest."""
    (line,) = re.findall(r'<polyline points="([^"]*)"', image)
    places = [tuple(map(float, pair.split(","))) for pair in line.split()]
    width, top, bottom = 960 - 70 - 260, 40, 360
    return [(round((x - 70) / width, 2), round((bottom - y) / (bottom - top), 2)) for x, y in places]
