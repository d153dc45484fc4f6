"""Measure Holdfast beside plain SQL on this machine: ``python bench/run.py``, or ``make bench``.

Every round takes each measurement once, odd rounds in the opposite order, so that a machine that grows slower or
noisier harms all alike. Results go to ``bench/results``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import backlog
import buses
import latency
import raw
import report
from apart import apart
from machine import machine, slug
from places import PostgresPlace, SQLitePlace

from holdfast.testing import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from places import Place
    from workload import Numbers

RESULTS = Path(__file__).parent / "results"


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
TINY = 2_000  # below so many events, everything is small: a test that the benchmark works, not a measurement


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing to measure: on a database that holds ``stored`` events, do so many.

    ``raw`` names the figure that it is compared with.
    """

    name: str
    measure: Callable[[str, int], Numbers]
    events: int
    stored: int = 0
    raw: str | None = None


def figures(store: str, scale: Scale) -> list[Figure]:
    on_postgres = store == "postgresql"
    publish_raw, batches_raw, many_raw, drain_raw = (
        (raw.postgres_publish_alone, raw.postgres_publish_batches, raw.postgres_publish_many, raw.postgres_drain)
        if on_postgres
        else (raw.sqlite_publish_alone, raw.sqlite_publish_batches, raw.sqlite_publish_many, raw.sqlite_drain)
    )
    many = "one COPY" if on_postgres else "one transaction"
    chosen = [
        Figure("raw: one INSERT an event", publish_raw, scale.publishes),
        Figure("publish alone", buses.publish_alone, scale.publishes, raw="raw: one INSERT an event"),
        Figure("raw: batches of 200", batches_raw, scale.bulk),
        Figure("publish, 200 callers", buses.publish_grouped, scale.bulk, raw="raw: batches of 200"),
        Figure(f"raw: {many}", many_raw, scale.bulk),
        Figure("publish_many", buses.publish_many, scale.bulk, raw=f"raw: {many}"),
        Figure("raw: drain", drain_raw, scale.events, scale.events),
    ]
    if on_postgres:
        overlapped = raw.postgres_drain_overlapped
        chosen.append(Figure("raw: drain, overlapped", overlapped, scale.events, scale.events))
    chosen += [
        Figure("drain, no-op async handler", buses.drain, scale.events, scale.events, raw="raw: drain"),
        Figure("drain, no-op sync handler", _drain_of("sync"), scale.some, scale.some),
        Figure("drain, transactional handler", _drain_of("transactional"), scale.some, scale.some),
        Figure("idle latency", latency.by_publish, scale.samples),
    ]
    if on_postgres:
        chosen.append(Figure("idle latency without NOTIFY", latency.by_insert, scale.samples))
    return chosen


def _drain_of(kind: buses.Kind) -> Callable[[str, int], Numbers]:
    return partial(buses.drain, kind=kind)


def measure_store(place: Place, scale: Scale) -> dict[str, Any]:
    """All figures of one store: each round's numbers, their medians, and the ratios."""
    chosen = figures(place.name, scale)
    rounds: dict[str, list[Numbers]] = {figure.name: [] for figure in chosen}
    for turn in range(scale.rounds):
        for figure in reversed(chosen) if turn % 2 else chosen:
            progress(f"{place.name}, round {turn + 1} of {scale.rounds}: {figure.name}")
            with place.loaded(figure.stored) as dsn:
                rounds[figure.name].append(apart(figure.measure, dsn, figure.events))
    progress("")
    return {"facts": place.facts, "figures": _summaries(chosen, rounds)}


def progress(text: str) -> None:
    """One line that is written over again, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _summaries(chosen: Sequence[Figure], rounds: dict[str, list[Numbers]]) -> dict[str, Any]:
    summaries: dict[str, Any] = {}
    for figure in chosen:
        median = report.summarise(rounds[figure.name])
        if figure.raw is not None:
            median["ratio"] = report.ratio(rounds[figure.name], rounds[figure.raw])
        summaries[figure.name] = {"events": figure.events, "median": median, "rounds": rounds[figure.name]}
    return summaries


@contextmanager
def places(stores: Sequence[str], dsn: str | None, folder: Path) -> Iterator[list[Place]]:
    """The stores that are asked for, ready to be measured."""
    with ExitStack() as stack:
        found: list[Place] = []
        if "sqlite" in stores:
            found.append(SQLitePlace(folder))
        if "postgresql" in stores:
            if dsn is None:
                dsn = stack.enter_context(LocalPostgres(fsync=True)).dsn()
                where = "started for this run, its data on the file system above, its settings the defaults"
            else:
                where = "given by --dsn; where its data lies is not known here"
            found.append(PostgresPlace(dsn, where))
        for place in found:
            stack.callback(place.close)
        yield found


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Holdfast beside plain SQL on this machine.")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--quick", action="store_true", help="20,000 events, 3 rounds: about two minutes (the default)")
    form.add_argument("--full", action="store_true", help="50,000 events, 5 rounds")
    parser.add_argument("--events", type=int, help="events to drain")
    parser.add_argument("--rounds", type=int, help="rounds, of which the medians are taken")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], help="only this one")
    parser.add_argument("--dsn", help="a PostgreSQL server where databases may be made; else one is started")
    parser.add_argument("--backlog", type=int, metavar="N", help="instead: drain N stored events, report the memory")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args(given)


def scale_of(options: argparse.Namespace) -> Scale:
    form = FULL if options.full else QUICK
    events = options.events or form.events
    is_tiny = events < TINY
    return Scale(
        events, options.rounds or form.rounds, events // 10 if is_tiny else form.publishes,
        5 if is_tiny else form.samples,
    )  # fmt: skip


def run_backlog(stores: Sequence[Place], events: int) -> bool:
    """Drain a large backlog on each store; whether nothing was lost and the memory kept within its bound."""
    fine = True
    for place in stores:
        numbers = backlog.measure(place, events)
        print(backlog.line(place, events, numbers))
        fine &= numbers["lost"] == 0 and numbers["peak_mib"] <= backlog.PEAK_MIB_MAX
    return fine


def run_figures(stores: Sequence[Place], scale: Scale, options: argparse.Namespace, folder: Path) -> bool:
    """Measure, report and store the results; whether nothing was lost."""
    started, facts = time.monotonic(), machine(folder)
    found = {place.name: measure_store(place, scale) for place in stores}
    form = "full" if options.full else "quick"
    results: report.Results = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {
            "form": form, "events": scale.events, "rounds": scale.rounds, "command": f"python bench/run.py --{form}",
            "seconds": round(time.monotonic() - started),
        },
        "machine": facts,
        "stores": found,
        "bars": report.bars(found),
    }  # fmt: skip
    print(report.terminal(results))
    for path in report.write(results, options.results, f"{results['made_at'][:10]}-{slug()}"):
        print(f"written: {path}")
    return not report.flaws(found)


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        with places([options.store] if options.store else ["sqlite", "postgresql"], options.dsn, folder) as stores:
            if options.backlog:
                return 0 if run_backlog(stores, options.backlog) else 1
            return 0 if run_figures(stores, scale_of(options), options, folder) else 1


if __name__ == "__main__":
    raise SystemExit(main())
