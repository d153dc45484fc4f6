"""What counting costs on the hot path: the processor time of a worker's process with it and without it, in turns.

There is no switch to turn counting off, because having one would cost as much: here what counts is replaced by functions
that do nothing. What is left are an append to a list and additions of whole numbers, which are timed by themselves. One
process and one running worker do both, a few thousand events by turns, so that a machine that gets slower meanwhile
makes both slower. What is told is the median of the pairs' differences.

    python bench/counting.py            measures, and writes bench/results/counting.md
    python bench/counting.py 500 3      so many events a turn, so many pairs, only shown
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
import timeit
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import psycopg

from holdfast import EventBus
from holdfast.bench.apart import apart
from holdfast.bench.machine import machine
from holdfast.counts import SECONDS, Histogram, PublisherCounts, SubscriptionCounts
from holdfast.event import Row
from holdfast.ports import Ports, wall_micros
from holdfast.publisher import Publisher
from holdfast.stores.values import Cursor, Lease, Slice
from holdfast.testing import LocalPostgres
from holdfast.worker.hand import InHand, Partition
from holdfast.worker.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

RESULTS = Path(__file__).parent / "results" / "counting.md"

_EVENTS, _PAIRS = 1_000, 400  # short turns: the two of a pair find the machine alike
_CALLERS = 200
_TOGETHER = 400  # a hand-out takes 5 ms at most, or a page
_REPEATS = 200_000
_ROWS = {
    "postgresql": "insert into holdfast.event_store (event_name, event_key, payload) select 'a', 'key-' || (n % 500), "
    "json_build_object('n', n, 'text', repeat('x', 150)) from generate_series(1, {}) as n",
    "sqlite": "with recursive s (n) as (select 1 union all select n + 1 from s where n < {}) "
    "insert into event_store (event_name, event_key, payload) "
    "select 'a', 'key-' || (n % 500), json_object('n', n, 'text', printf('%.150c', 'x')) from s",
}


class Pair(NamedTuple):
    """Microseconds of processor time an event."""

    without: float
    with_it: float


@contextmanager
def uncounted() -> Iterator[None]:
    """Nothing is counted but what plain additions count."""

    def nothing(*_: Any, **__: Any) -> None:
        pass

    with ExitStack() as stack:
        for owner, name in (
            (Timing, "one_by_one"), (Timing, "together"), (Histogram, "add"), (Histogram, "add_all"), (Publisher, "_count"),
        ):  # fmt: skip
            stack.enter_context(patch.object(owner, name, nothing))
        yield


def draining(dsn: str, events: int, pairs: int) -> list[Pair]:
    """A worker whose handler does nothing handles what another program has stored."""

    async def run() -> list[Pair]:
        bus, handled, enough = EventBus(dsn, spool="off", auto_migrate=True), 0, asyncio.Event()

        @bus.subscribe("a", name="s")
        async def handle(_: Any) -> None:
            nonlocal handled
            handled += 1
            if handled == events:
                enough.set()

        async def drain() -> None:
            nonlocal handled
            handled = 0
            enough.clear()
            await asyncio.to_thread(connection.execute, _ROWS[dsn.partition(":")[0]].format(events))
            await enough.wait()
            while in_hand(bus):  # noqa: ASYNC110 - until all of it is written, which nobody tells
                await asyncio.sleep(0.001)

        async with bus:
            with closing(connect(dsn)) as connection:
                await drain()
                return [await turn(drain, events, number) for number in range(pairs)]

    return asyncio.run(run())


def in_hand(bus: EventBus) -> int:
    assert bus.counts is not None
    return bus.counts.subscriptions["s"].in_hand


def publishing(dsn: str, events: int, pairs: int) -> list[Pair]:
    """Two hundred callers publish, each one event after the other."""

    async def run() -> list[Pair]:
        bus = EventBus(dsn, spool="off", auto_migrate=True)

        async def publish() -> None:
            numbers = iter(range(events))

            async def caller() -> None:
                for number in numbers:
                    await bus.publish("a", {"n": number, "text": "x" * 150}, key=f"key-{number % 500}")

            await asyncio.gather(*(caller() for _ in range(_CALLERS)))

        await publish()
        found = [await turn(publish, events, number) for number in range(pairs)]
        await bus.close()
        return found

    return asyncio.run(run())


async def turn(work: Callable[[], Awaitable[None]], events: int, number: int) -> Pair:
    """A pair, of which now the one goes first and now the other."""
    if number % 2:
        with_it = await timed(work, events)
        return Pair(await timed_without(work, events), with_it)
    return Pair(await timed_without(work, events), await timed(work, events))


async def timed_without(work: Callable[[], Awaitable[None]], events: int) -> float:
    with uncounted():
        return await timed(work, events)


async def timed(work: Callable[[], Awaitable[None]], events: int) -> float:
    begun = time.process_time()
    await work()
    return 1e6 * (time.process_time() - begun) / events


def connect(dsn: str) -> Any:
    """Another program, by which events are stored."""
    if dsn.startswith("sqlite"):
        path = dsn.removeprefix("sqlite:///")
        return sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    return psycopg.connect(dsn, autocommit=True)


def by_itself() -> list[str]:
    """Nanoseconds of each thing that counts, as it is done: for many at once, so for one of many."""
    histogram, values, kept = Histogram(SECONDS), [0.00001] * _TOGETHER, list[float]()
    counts = PublisherCounts()

    def each(statement: Callable[[], object], of: int = 1) -> float:
        repeats = _REPEATS // of
        return 1e9 * min(timeit.repeat(statement, number=repeats, repeat=5)) / repeats / of

    def add_number() -> None:
        counts.stored += 1

    row = Row(1, b"", 0, 0, wall_micros() - 60_000, "", "", None, b"", None)
    lease = Lease(Slice(1, 0), 1, Cursor("0"), clean=True, lost=False, crashes=0)
    items = [InHand(row, Partition(lease), None, 0)] * _TOGETHER
    starts = [0.005 * number / _TOGETHER for number in range(_TOGETHER)]
    timing = Timing(SubscriptionCounts(), Ports(elapsed=lambda: 0.005), None)
    nothing = each(lambda: None)

    def without_the_call(statement: Callable[[], object]) -> float:
        return max(0.0, each(statement) - nothing)

    return [
        f"| duration and latency of an event, in a hand-out of {_TOGETHER} | {each(lambda: timing.one_by_one(items, starts), _TOGETHER):.0f} |",
        f"| a value of {_TOGETHER} into a histogram | {each(lambda: histogram.add_all(values), _TOGETHER):.0f} |",
        f"| a value alone into a histogram | {without_the_call(lambda: histogram.add(0.003)):.0f} |",
        f"| an addition to a counter | {without_the_call(add_number):.0f} |",
        f"| a start kept in a list | {without_the_call(lambda: kept.append(0.0)):.0f} |",
    ]


def row(name: str, pairs: list[Pair]) -> str:
    """A line of the table, with the interval in which the median lies in 95 of 100 cases."""
    more = sorted(100 * (pair.with_it / pair.without - 1) for pair in pairs)
    reach = round(0.98 * len(more) ** 0.5)
    middle = len(more) // 2
    low, high = more[max(0, middle - reach)], more[min(len(more) - 1, middle + reach)]
    without = statistics.median(pair.without for pair in pairs)
    return f"| {name} | {without:.1f} | {statistics.median(more):+.1f} % | {low:+.1f} to {high:+.1f} % |"


def table(events: int, pairs: int) -> str:
    rows = []
    with tempfile.TemporaryDirectory() as folder, LocalPostgres(fsync=True) as server:
        facts = machine(Path(folder))
        for work, name in (
            (draining, "handling, a handler that does nothing"),
            (publishing, "publishing, 200 callers"),
        ):
            for kind, dsn in (("PostgreSQL", server.dsn()), ("SQLite", f"sqlite:///{folder}/{work.__name__}.db")):
                rows.append(row(f"{name}, {kind}", apart(work, dsn, events, pairs)))
    measured = (
        f"{datetime.now(UTC):%Y-%m-%d}, {facts['processor']}, {facts['cores']} cores, {facts['python']}: {pairs} pairs of "
        f"turns with {events:,} events each; microseconds of the process's processor time an event, medians."
    )
    return "\n".join(
        [
            measured,
            "",
            "| | without | more with it | 95 % interval |",
            "| --- | ---: | ---: | --- |",
            *rows,
            "",
            "| what is counted | nanoseconds |",
            "| --- | ---: |",
            *by_itself(),
            "",
        ]
    )


if __name__ == "__main__":
    chosen = [int(argument) for argument in sys.argv[1:]]
    text = table(*(chosen or (_EVENTS, _PAIRS)))
    sys.stdout.write(text)
    if not chosen:
        RESULTS.write_text(text, "utf-8")
