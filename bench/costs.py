"""What an event costs, and where: the processor time of the client and of the server, and which code the client's is in.

The benchmark says how fast each path is; this says what it is made of. Each path is run as the benchmark runs it, in a
process of its own. The server's time is that of all of its processes. A timer looks every millisecond of processor time
at which file the client is in; time in C counts for the Python code that called it. Reads /proc: Linux only.

    python bench/costs.py                     measures, and writes bench/results/costs.md
    python bench/costs.py 100 publish_many    a hundredth of those with this in their name, only shown
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.bench import draining, publishing, raw_postgres, raw_transactions
from holdfast.bench.apart import apart
from holdfast.bench.loads import Load
from holdfast.bench.machine import machine
from holdfast.bench.place_postgres import PostgresPlace
from holdfast.testing import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

RESULTS = Path(__file__).parent / "results" / "costs.md"

_TICK = 0.001
_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LOOKS = 3
_SHOWN, _LEAST = 6, 0.04


class Work(NamedTuple):
    """One thing that the benchmark does, so many times."""

    name: str
    measure: Callable[[str, int], Any]
    events: int
    stored: int = 0


WORKS = (
    Work("raw: drain, overlapped", raw_postgres.drain_overlapped, 50_000, 50_000),
    Work("drain, no-op async handler", draining.drain, 50_000, 50_000),
    Work("raw: drain, a transaction an event", raw_transactions.drain, 5_000, 5_000),
    Work("drain, transactional handler", partial(draining.drain, kind="transactional"), 5_000, 5_000),
    Work("raw: one INSERT an event", raw_postgres.publish_alone, 3_000),
    Work("publish alone", publishing.alone, 3_000),
    Work("raw: batches of 200", raw_postgres.publish_batches, 40_000),
    Work("publish, 200 callers", publishing.grouped, 40_000),
    Work("raw: one COPY", raw_postgres.publish_many, 10_000),
    Work("publish_many", publishing.many, 10_000),
)


class Cost(NamedTuple):
    """Seconds, and how often the client was seen in which file."""

    wall: float
    client: float
    server: float
    seen: Counter[str]


def cost(measure: Callable[[str, int], Any], dsn: str, events: int, postmaster: int) -> Cost:
    """What *measure* costs in this process and in the server's."""
    seen: Counter[str] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        seen[_place(frame)] += 1

    signal.signal(signal.SIGPROF, look)
    server, started, busy = server_seconds(postmaster), time.perf_counter(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, _TICK, _TICK)
    measure(dsn, events)
    signal.setitimer(signal.ITIMER_PROF, 0)
    wall, busy = time.perf_counter() - started, time.process_time() - busy
    return Cost(wall, busy, server_seconds(postmaster) - server, seen)


def _place(frame: FrameType | None) -> str:
    """The file of ours, or the package of others, that *frame* is in."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("holdfast."):
            return module
        if (package := module.partition(".")[0]) in ("asyncio", "psycopg", "psycopg_pool"):
            return package
        frame = frame.f_back  # the standard library, on behalf of whoever called it
    return "start-up"


def server_seconds(postmaster: int) -> float:
    """
    Processor time of the server's processes: those that run, and those that the postmaster has seen end. The most of
    several looks: one that ends between the two is in neither.
    """
    return max(_server_ticks(postmaster) for _ in range(_LOOKS)) / _PER_SECOND


def _server_ticks(postmaster: int) -> int:
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(stat.parent.name) == postmaster:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks


def row(work: Work, found: Cost) -> str:
    """A line of the table: microseconds an event, and the largest shares of the client's."""
    total = sum(found.seen.values())
    shares = ", ".join(
        f"{place.removeprefix('holdfast.')} {100 * count / total:.0f} %"
        for place, count in found.seen.most_common(_SHOWN)
        if count / total >= _LEAST
    )
    each = (1e6 * seconds / work.events for seconds in (found.wall, found.client, found.server))
    return f"| {work.name} | {work.events:,} | " + " | ".join(f"{one:,.1f}" for one in each) + f" | {shares} |"


def table(share: int = 1, only: str = "") -> str:
    """The works with *only* in their name, measured one after the other; of each the *share*-th part."""
    with LocalPostgres(fsync=True) as server:
        assert server.pid is not None
        place = PostgresPlace(server.dsn(), "")
        facts = machine(server.data_dir)
        rows = []
        for one in WORKS:
            if only not in one.name:
                continue
            work = one._replace(events=one.events // share, stored=one.stored // share)
            with place.loaded(Load(work.stored), keep=False) as dsn:
                rows.append(row(work, apart(cost, work.measure, dsn, work.events, server.pid)))
        place.close()
    return "\n".join(
        [
            f"# Costs of {datetime.now(UTC):%Y-%m-%d}",
            "",
            "; ".join(f"{name}: {value}" for name, value in facts.items()),
            "",
            "Microseconds an event: by the clock, of the client's processor, of the server's; all with start-up.",
            "",
            "| what | events | clock | client | server | where the client's time goes |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    is_whole = len(sys.argv) == 1
    made = table() if is_whole else table(int(sys.argv[1]), sys.argv[2])
    if is_whole:
        RESULTS.write_text(made, "utf-8")
    sys.stdout.write(made)
