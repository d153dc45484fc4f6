"""
Services on databases of their own with a cluster between them: ``python bench/transporting.py [--events 5000]``.

First the cluster's bad days, with what became of every event. Then, in turns in the same run, throughput and latency of
the plain path (one database, its workers) and of the path over the stream (a publishing database, a cluster of three, a
handling database, its workers), with 1, 2 and 4 worker processes and 1, 4 and 16 partitions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import psycopg

from holdfast import EventBus
from holdfast.bench.machine import machine
from holdfast.testing import LocalPostgres

sys.path[:0] = [str(Path(__file__).parents[1])]

from tests.transport.campaign import FAULTS, campaign  # noqa: E402 - found only now
from tests.transport.cluster import NatsCluster  # noqa: E402 - as above
from tests.transport.databases import Dsns, prepared  # noqa: E402 - as above
from tests.transport.judging import GOOD  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.transport.campaign import Report

WORKER = Path(__file__).parent / "transport_worker.py"
WORKERS, PARTITIONS = (1, 2, 4), (1, 4, 16)
KEYS = 500
_PATIENCE = 120.0


class Measured(NamedTuple):
    """Of one path with so many workers and partitions: events a second, milliseconds from before publish to handler."""

    path: str
    workers: int
    partitions: int
    per_s: float
    p50_ms: float
    p99_ms: float


@contextmanager
def _processes(folder: Path, *settings: dict[str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for one in settings:
            log = stack.enter_context((folder / f"worker-{uuid4().hex[:6]}.log").open("wb"))
            process = subprocess.Popen([sys.executable, str(WORKER), json.dumps(one)], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


async def _until(dsn: str, query: str, wanted: int) -> None:
    async with asyncio.timeout(_PATIENCE), await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(query)
            (found,) = await cursor.fetchone() or (0,)
            if found >= wanted:
                return
            await asyncio.sleep(0.02)


async def measured(
    path: str, workers: int, partitions: int, dsns: Dsns, cluster: NatsCluster, folder: Path, *, events: int, timed: int
) -> Measured:
    """One path, on emptied databases and a stream of its own."""
    prepared(dsns)
    stream, times = f"b{uuid4().hex[:8]}", folder / f"times-{uuid4().hex[:6]}"
    over_stream = path == "stream"
    transport = cluster.address(stream, f"partitions={partitions}") if over_stream else None
    handling = dsns.billing if over_stream else dsns.shop
    common = {"partitions": partitions, "transport": transport}
    worker = {**common, "dsn": handling, "service": "billing", "handles": True, "times": str(times)}
    sender = {**common, "dsn": dsns.shop, "service": "shop", "handles": False}
    bus = EventBus(dsns.shop, transport=transport, service="shop", spool="off")
    with _processes(folder, *[worker] * workers, *[sender] * over_stream):
        await _until(
            handling, "select count(*) from holdfast.leases where owner is not null", (2 + over_stream) * partitions
        )
        await _until(handling, "select count(distinct owner) from holdfast.leases", min(workers, partitions))
        for number in range(KEYS // 5):  # everybody is there, and has connected
            await bus.publish("bench.plain", {}, key=f"k{number}")
        await _until(handling, _HANDLED, KEYS // 5)
        per_s = await _rate(bus, handling, events)
        found = await _latencies(bus, times, timed)
    await bus.close()
    return Measured(
        path, workers, partitions, per_s, 1000 * statistics.median(found), 1000 * statistics.quantiles(found, n=100)[98]
    )  # fmt: skip


_HANDLED = "select count(*) from holdfast.event_consumers where consumer_name = 'plain'"


async def _rate(bus: EventBus, handling: str, events: int) -> float:
    """Events a second, from the first publish to the last receipt."""
    items = [
        {"name": "bench.plain", "payload": {"n": n, "text": "x" * 150}, "key": f"k{n % KEYS}"} for n in range(events)
    ]
    begun = time.perf_counter()
    for start in range(0, events, 500):
        await bus.publish_many(items[start : start + 500])
    await _until(handling, _HANDLED, events + KEYS // 5)
    return events / (time.perf_counter() - begun)


async def _latencies(bus: EventBus, times: Path, count: int) -> list[float]:
    """Seconds from before a publish to the handler's entry, of single events, one every 10 ms."""
    for number in range(count):
        await bus.publish("bench.timed", {"at": time.time()}, key=f"k{number % KEYS}")
        await asyncio.sleep(0.01)
    async with asyncio.timeout(_PATIENCE):
        while len(found := times.read_text("ascii").split()) < count:  # noqa: ASYNC110, ASYNC240 - a file has no event
            await asyncio.sleep(0.02)
    return [float(one) for one in found]


def report(bad_days: Report, found: Sequence[Measured]) -> str:
    """Two tables in Markdown, and what became of every event."""
    lines = [
        "## Bad days of a cluster",
        "",
        (
            f"Three services, a database each; billing has two worker processes. {bad_days.orders:,} orders committed, "
            f"{bad_days.rolled_back:,} rolled back; {bad_days.effects:,} transactional effects of "
            f"{3 * bad_days.orders:,} that there should be."
        ),
        "",
        "| service | lost | unknown | effects more than one | order violations |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(f"| {name} | " + " | ".join(map(str, one)) + " |" for name, one in bad_days.verdicts.items()),
        "",
        "Recovery: from the fault until an event of each key, published after it, has had its effect in billing.",
        "",
        "| fault | seconds |",
        "| --- | ---: |",
        *(f"| {one.fault.replace('_', ' ')} | {one.seconds:.1f} |" for one in bad_days.recoveries),
        "",
        "## Beside the plain path",
        "",
        "| workers | partitions | plain, events/s | stream, events/s | plain, p50 / p99 | stream, p50 / p99 |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    by = {(one.path, one.workers, one.partitions): one for one in found}
    for workers in WORKERS:
        for partitions in PARTITIONS:
            plain, stream = by["plain", workers, partitions], by["stream", workers, partitions]
            lines.append(
                f"| {workers} | {partitions} | {plain.per_s:,.0f} | {stream.per_s:,.0f} "
                f"| {plain.p50_ms:.1f} / {plain.p99_ms:.1f} ms | {stream.p50_ms:.1f} / {stream.p99_ms:.1f} ms |"
            )
    return "\n".join(lines) + "\n"


async def run(folder: Path, given: argparse.Namespace) -> tuple[Report, list[Measured]]:
    with LocalPostgres() as server, NatsCluster(folder / "cluster") as cluster:
        dsns = Dsns.made(server.dsn())
        prepared(dsns)
        await cluster.heal()
        bad_days = await campaign(cluster, dsns, folder, "days", faults=FAULTS * given.rounds, rest=given.rest)
        found = [
            await measured(path, workers, partitions, dsns, cluster, folder, events=given.events, timed=given.timed)
            for workers in WORKERS
            for partitions in PARTITIONS
            for path in ("plain", "stream")
        ]
    return bad_days, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000, help="for throughput, each time")
    parser.add_argument("--timed", type=int, default=200, help="for latency, each time")
    parser.add_argument("--rounds", type=int, default=2, help="of all faults")
    parser.add_argument("--rest", type=float, default=2, help="seconds of work before each fault")
    parser.add_argument("--note", default="", help="what else is to be known of the run")
    parser.add_argument("--results", type=Path, help="write the tables there too")
    given = parser.parse_args()
    facts = machine(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory() as folder:
        bad_days, found = asyncio.run(run(Path(folder), given))
    text = f"# A transport, {datetime.now(UTC):%Y-%m-%d}\n\n{'; '.join(f'{name}: {one}' for name, one in facts.items())}\n\n"
    text += "PostgreSQL with fsync; three nats-servers, three replicas; all on this one machine. "
    text += f"{given.events:,} events each, {given.timed} for latency.{given.note and ' '}{given.note}\n\n"
    text += report(bad_days, found)
    print(text)  # noqa: T201 - its purpose
    if given.results is not None:
        given.results.write_text(text, "utf-8")
    is_good = all(one == GOOD for one in bad_days.verdicts.values()) and bad_days.effects == 3 * bad_days.orders
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
