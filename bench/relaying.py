"""
Relays under faults, and beside their broker's own client: ``python bench/relaying.py [nats …] [--events 20000]``.

For each broker: a run in which its server is killed and started again, with what arrived; then throughput and latency,
in turns with a bare producer of the same messages by the broker's client alone, and a table for bench/results.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

from holdfast.bench.machine import machine
from holdfast.event import Event
from holdfast.relay.message import message_of

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
from relay_brokers import BATCH, BROKERS  # noqa: E402 - found only now

from tests.relay.contract import arrivals, bus_on, faults, orders, until, working  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.relay.ports import Message

IN_FLIGHT = 4 * BATCH  # messages, as a relay has them


class Faulted(NamedTuple):
    """What became of a run with faults. `acknowledged`: counted by the relay; `delivered`, `repeated`: counted at the broker."""

    sent: int
    acknowledged: int
    delivered: int
    repeated: int
    lost: int
    disorder: int
    kills: int
    recovery_s: float  # from the server's start to the next acknowledged batch, the longest


class Measured(NamedTuple):
    """Beside the bare producer, medians of the rounds."""

    relay_per_s: float
    bare_per_s: float
    relay_latency_ms: float
    bare_latency_ms: float

    @property
    def ratio(self) -> float:
        return self.relay_per_s / self.bare_per_s


async def faulted(kind: str, folder: Path, events: int, kills: int) -> Faulted:
    """Publish *events* while the server is killed and started again *kills* times."""
    async with BROKERS[kind](folder / "faulted") as bench:
        broker = bench.broker
        bus = bus_on(f"sqlite:///{folder}/faulted.db")
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out")
        sent, recoveries = orders(events, keys=50), []
        async with working(bus):
            counts = bus.counts.relays["out"]
            part = max(1, events // (kills + 1))
            for start in range(0, events, part):
                for begin in range(start, min(start + part, events), 500):
                    await bus.publish_many(sent[begin : min(begin + 500, start + part)])
                if len(recoveries) < kills:
                    broker.kill()
                    # Where all has arrived already, it needs something to be found away for.
                    more = {"name": "order.placed", "payload": {"key": None}, "event_id": str(uuid4())}
                    sent.append(more)
                    await bus.publish_many([more])
                    await until(lambda: counts.is_away, 60)
                    broker.start()
                    at, before = time.perf_counter(), counts.sent
                    await until(lambda before=before: counts.sent > before, 120)
                    recoveries.append(time.perf_counter() - at)
            await bus.drain(300)
        bodies = await arrivals(broker)
        found = faults(sent, bodies)
        return Faulted(
            len(sent), counts.sent, len(bodies), found["repeated"], found["lost"], found["disorder"], kills,
            max(recoveries),
        )  # fmt: skip


async def measured(kind: str, folder: Path, events: int, rounds: int) -> Measured:
    """Throughput of a backlog and latency of single events, in turns with the bare producer."""
    rates: dict[str, list[float]] = {"relay": [], "bare": []}
    async with BROKERS[kind](folder / "measured") as bench:
        await bench.connect()
        await bench.bare([_message(item) for item in orders(10)])  # connected, as the relay is
        to = bench.broker.to_url.format(port=bench.broker.port)
        for number in range(rounds):
            sent = orders(events, keys=500)
            rates["relay"].append(await _relay(f"sqlite:///{folder}/measured{number}.db", to, sent))
            rates["bare"].append(events / await _bare(bench, [_message(item) for item in sent]))
        latencies = await _latencies(bench, f"sqlite:///{folder}/latency.db", to, max(50, events // 100))
    return Measured(*(statistics.median(rates[one]) for one in ("relay", "bare")), *latencies)


async def _relay(dsn: str, to: str, sent: Sequence[dict[str, Any]]) -> float:
    """
    Messages a second at which a relay hands a stored backlog over, from the first that is acknowledged: by then it has
    connected, as the bare producer has before its clock starts.
    """
    bus = bus_on(dsn)
    await bus.publish_many(sent)
    await bus.close()
    bus = bus_on(dsn)
    bus.relay("order.**", to, name="out", start="beginning")
    async with working(bus):
        counts = bus.counts.relays["out"]
        await until(lambda: counts.sent, 300)
        begun, before = time.perf_counter(), counts.sent
        await until(lambda: counts.sent >= len(sent), 300)
        return (len(sent) - before) / (time.perf_counter() - begun)


async def _bare(bench: Any, messages: Sequence[Message]) -> float:
    begun = time.perf_counter()
    for start in range(0, len(messages), IN_FLIGHT):
        await bench.bare(messages[start : start + IN_FLIGHT])
    return time.perf_counter() - begun


async def _latencies(bench: Any, dsn: str, to: str, count: int) -> tuple[float, float]:
    """Medians in milliseconds until the broker has acknowledged: from before the publish, and of the client alone."""
    bus = bus_on(dsn)
    bus.relay("order.**", to, name="out")
    relay, bare = [], []
    async with working(bus):
        counts = bus.counts.relays["out"]
        for number, item in enumerate(orders(count)):
            begun = time.perf_counter()
            await bus.publish_many([item])
            while counts.sent <= number:  # noqa: ASYNC110 - a look every 0.2 ms is what is measured with
                await asyncio.sleep(0.0002)
            relay.append(time.perf_counter() - begun)
            message = _message(item)
            begun = time.perf_counter()
            await bench.bare([message])
            bare.append(time.perf_counter() - begun)
        await bus.drain(60)
    return statistics.median(relay) * 1000, statistics.median(bare) * 1000


def _message(item: dict[str, Any]) -> Message:
    event = Event.build(item["name"], item["payload"], event_id=UUID(item["event_id"]), key=item["key"])
    return message_of(event, source="bench", format="binary")


def report(found: dict[str, tuple[Faulted, Measured]]) -> str:
    """Two tables in Markdown."""
    lines = [
        "| broker | sent | acknowledged | delivered | repeated there | lost | order violations | kills | longest recovery |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, (one, _) in found.items():
        figures = (one.sent, one.acknowledged, one.delivered, one.repeated, one.lost, one.disorder, one.kills)
        lines.append(f"| {kind} | " + " | ".join(f"{figure:,}" for figure in figures) + f" | {one.recovery_s:.2f} s |")
    lines += [
        "",
        "| broker | relay, messages/s | bare producer, messages/s | ratio (bar: 0.5) | publish to acknowledged | bare client to acknowledged |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {kind} | {one.relay_per_s:,.0f} | {one.bare_per_s:,.0f} | {one.ratio:.2f} | {one.relay_latency_ms:.1f} ms "
        f"| {one.bare_latency_ms:.1f} ms |"
        for kind, (_, one) in found.items()
    ]
    return "\n".join(lines) + "\n"


async def run(kinds: Sequence[str], events: int, kills: int, rounds: int) -> dict[str, tuple[Faulted, Measured]]:
    found = {}
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            found[kind] = await faulted(kind, place, events, kills), await measured(kind, place, events, rounds)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "brokers", nargs="*", metavar="BROKER", help=f"of {', '.join(BROKERS)}; all where none is named"
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, help="write the tables there too")
    given = parser.parse_args()
    if unknown := [one for one in given.brokers if one not in BROKERS]:
        parser.error(f"no broker {unknown[0]!r}: there are {', '.join(BROKERS)}")
    facts = machine(Path(tempfile.gettempdir()))
    found = asyncio.run(run(given.brokers or [*BROKERS], given.events, given.kills, given.rounds))
    text = f"# Relays, {datetime.now(UTC):%Y-%m-%d}\n\n{'; '.join(f'{name}: {one}' for name, one in facts.items())}\n\n"
    text += f"Medians of {given.rounds} rounds, {given.events:,} events each; the store is SQLite.\n\n{report(found)}"
    print(text)  # noqa: T201 - its purpose
    if given.results is not None:
        given.results.write_text(text, "utf-8")
    bad = [kind for kind, (one, beside) in found.items() if one.lost or one.disorder or beside.ratio < 0.5]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
