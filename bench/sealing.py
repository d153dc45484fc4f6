"""What sealing costs: events a second of sealing and of verifying, and of draining with and without a sealer beside it.

The drain is the benchmark's: a stored backlog, one worker, a handler that does nothing. Beside it, a sealer in another
process goes through the same backlog at the same time, round after round. Drains with and without take turns, so that
what else the machine does meets both; the cost is the share of the median rate that is lost. Processor time is that of
sealing alone, of its process and of the server's. Reads /proc: Linux only.

    python bench/sealing.py           measures, and writes bench/results/sealing.md
    python bench/sealing.py 100       a hundredth of the events, once, only shown
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from costs import server_seconds

from holdfast.bench import draining
from holdfast.bench.apart import SPAWN, apart, peak_memory
from holdfast.bench.loads import Load
from holdfast.bench.machine import machine
from holdfast.bench.place_postgres import PostgresPlace
from holdfast.bench.place_sqlite import SQLitePlace
from holdfast.sealing import BESIDE_WORKERS, Sealer, Verifier
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from holdfast.testing import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

RESULTS = Path(__file__).parent / "results" / "sealing.md"

_EVENTS = 100_000
_ROUNDS = 5
_BETWEEN_SECONDS = 0.2
_COST_PERCENT_MAX = 10.0

_LEGEND = (
    f"Events a second, each with start-up; drains are medians of {_ROUNDS} taking turns. CPU: microseconds an event of "
    "sealing alone, its process and the server, and of a drain, and the share of the two. Memory: the most that sealing or verifying held, MiB."
)


class Alone(NamedTuple):
    """Of sealing, or verifying, everything once. `busy`: seconds of the process. `peak`: bytes that it held at most."""

    seconds: float
    busy: float
    peak: int


class Figures(NamedTuple):
    """Of one store; rates are events a second."""

    seal: float
    verify: float
    seal_cpu_us: float
    peak_mib: float
    drain: float
    drain_beside: float
    drain_cpu_us: float

    @property
    def cost_percent(self) -> float:
        """Share of the drain's rate that a sealer beside it takes."""
        return 100 * (1 - self.drain_beside / self.drain)

    @property
    def cpu_percent(self) -> float:
        """Processor time of sealing, as a share of that of draining: what else the machine does hardly matters to it."""
        return 100 * self.seal_cpu_us / self.drain_cpu_us


async def _parts(dsn: str) -> AsyncIterator[tuple[Any, Any]]:
    store = make_store(dsn, timeout=60)
    inspector, operator = make_inspector(store)
    await store.open()
    yield inspector, operator
    await inspector.close()
    await store.close()


async def _seal(dsn: str) -> int:
    async for inspector, operator in _parts(dsn):
        return (await Sealer(inspector, operator, actor="bench").seal()).events
    raise AssertionError


async def _verify(dsn: str) -> int:
    async for inspector, _ in _parts(dsn):
        verifier = Verifier(inspector)
        found = [finding async for finding in verifier.findings()]
        assert found == [], found[:3]
        return verifier.summary.sealed
    raise AssertionError


def alone(work: Callable[[str], Any], dsn: str, events: int) -> Alone:
    """One go of *work*, which must meet all *events*."""
    begun, busy = time.perf_counter(), time.process_time()
    assert asyncio.run(work(dsn)) == events
    return Alone(time.perf_counter() - begun, time.process_time() - busy, peak_memory())


def seal_on(dsn: str, ready: Any, stop: Any) -> None:
    """Seal in rounds, as ``holdfast seal --every`` does, until *stop* is set."""

    async def rounds() -> None:
        async for inspector, operator in _parts(dsn):
            sealer = Sealer(inspector, operator, actor="bench", share=BESIDE_WORKERS)
            ready.set()
            while not stop.wait(_BETWEEN_SECONDS):
                await sealer.seal()

    asyncio.run(rounds())


@contextmanager
def beside(dsn: str) -> Iterator[None]:
    """A sealer in a process of its own."""
    ready, stop = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=seal_on, args=(dsn, ready, stop))
    process.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        stop.set()
        process.join()


def figures(
    loaded: Callable[[], AbstractContextManager[str]], events: int, server: Callable[[], float], rounds: int
) -> Figures:
    """Measure one store: *loaded* gives a fresh copy with that many events, *server* the server's processor time."""
    with loaded() as dsn:
        busy = server()
        sealing = apart(alone, _seal, dsn, events)
        sealing_us = 1e6 * (server() - busy + sealing.busy) / events
        verifying = apart(alone, _verify, dsn, events)
    rates: dict[bool, list[float]] = {False: [], True: []}
    drain_us: list[float] = []
    for _ in range(rounds):
        for with_sealer, found in rates.items():
            with loaded() as dsn, ExitStack() as stack:
                if with_sealer:
                    stack.enter_context(beside(dsn))
                busy = server()
                numbers = apart(draining.drain, dsn, events)
                if not with_sealer:
                    drain_us.append(1e6 * (server() - busy) / events + numbers["cpu_us_per_event"])
                found.append(numbers["events_per_s"])
    return Figures(
        events / sealing.seconds, events / verifying.seconds, sealing_us,
        max(sealing.peak, verifying.peak) / 2**20, statistics.median(rates[False]), statistics.median(rates[True]),
        statistics.median(drain_us),
    )  # fmt: skip


def row(name: str, events: int, found: Figures) -> str:
    """A line of the table."""
    cells = (
        name, f"{events:,}", f"{found.seal:,.0f}", f"{found.verify:,.0f}", f"{found.seal_cpu_us:.1f}",
        f"{found.peak_mib:.0f}", f"{found.drain:,.0f}", f"{found.drain_beside:,.0f}", f"{found.cost_percent:.1f} %",
        "yes" if found.cost_percent < _COST_PERCENT_MAX else "no", f"{found.drain_cpu_us:.1f}", f"{found.cpu_percent:.0f} %",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def table(share: int = 1) -> str:
    """Both stores, with the *share*-th part of the events."""
    events, rounds = _EVENTS // share, _ROUNDS if share == 1 else 1
    load = Load(events)
    with LocalPostgres(fsync=True) as server, tempfile.TemporaryDirectory() as folder:
        assert server.pid is not None
        pid, facts = server.pid, machine(server.data_dir)
        postgres, sqlite = PostgresPlace(server.dsn(), ""), SQLitePlace(Path(folder))
        rows = [
            row(
                "PostgreSQL",
                events,
                figures(lambda: postgres.loaded(load), events, lambda: server_seconds(pid), rounds),
            ),
            row("SQLite", events, figures(lambda: sqlite.loaded(load), events, lambda: 0.0, rounds)),
        ]
        postgres.close()
        sqlite.close()
    return "\n".join(
        [
            f"# Sealing, {datetime.now(UTC):%Y-%m-%d}",
            "",
            "; ".join(f"{name}: {value}" for name, value in facts.items()),
            "",
            _LEGEND,
            "",
            "| store | events | seal | verify | CPU | memory | drain | drain, sealer beside | cost | under 10 % | drain's CPU | share |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    is_whole = len(sys.argv) == 1
    made = table() if is_whole else table(int(sys.argv[1]))
    if is_whole:
        RESULTS.write_text(made, "utf-8")
    sys.stdout.write(made)
