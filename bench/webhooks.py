"""Webhooks out: a receiver that is killed again and again, and what a relay takes beside plain requests by httpx.

The receiver is a process of its own, which writes down each request before it answers. Rates are those of the same bodies
to the same receiver, with as many requests under way: once by a loop over httpx, once by a relay that drains a stored
backlog, in turns. Latency is from before the request, or the publish, to when the receiver has the event. Both on
PostgreSQL, with fsync.

    python bench/webhooks.py           measures, and writes bench/results/webhooks.md
    python bench/webhooks.py 20        a twentieth of the events, once, only shown
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import psycopg

from holdfast import EventBus
from holdfast.bench.machine import machine
from holdfast.relay.webhook import Webhook
from holdfast.testing import LocalPostgres

RESULTS = Path(__file__).parent / "results" / "webhooks.md"
SECRET = "whsec_" + "c2VjcmV0" * 4

_EVENTS, _ROUNDS, _AT_ONCE, _KEYS = 2_000, 3, 16, 64
_KILLS, _AWAY_SECONDS, _LATENCIES = 3, 1.0, 200
_ANSWER = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"


class Arrival(NamedTuple):
    id: str
    key: str
    place: int
    at: float


class Receiver:
    """A process that keeps what it is sent in *file*; the same port after each start."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, "receive", str(self.port), str(self._file)])
        while True:
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 1)):
                return

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def arrivals(self) -> list[Arrival]:
        return [Arrival(*json.loads(line)) for line in self._file.read_text("utf-8").splitlines()]


def receive(port: int, file: str) -> None:
    """The receiver's process."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                data = json.loads(await reader.readexactly(length))["data"]
                kept.write(json.dumps([data["id"], data["key"], data["place"], time.monotonic()]) + "\n")
                kept.flush()
                writer.write(_ANSWER)
                await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        await server.serve_forever()

    with open(file, "a", encoding="utf-8") as kept:  # noqa: PTH123 - a line is whole or not there
        asyncio.run(run())


def events(count: int) -> list[dict[str, Any]]:
    """Each with its place in its key."""
    return [
        {
            "name": "order.placed",
            "key": f"k{number % _KEYS}",
            "payload": {"id": str(uuid4()), "key": f"k{number % _KEYS}", "place": number // _KEYS, "text": "x" * 200},
        }
        for number in range(count)
    ]


def bus_to(dsn: str, url: str) -> EventBus:
    bus = EventBus(dsn, auto_migrate=True, spool="off")
    webhook = Webhook(url, secret=SECRET, allow_private=["127.0.0.1"])
    bus.relay("order.**", to=webhook, name=f"out-{uuid4().hex[:8]}", concurrency=_AT_ONCE)
    return bus


async def by_httpx(url: str, items: list[dict[str, Any]]) -> float:
    """Requests a second."""
    left = iter(items)
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    async with httpx.AsyncClient(limits=limits) as client:

        async def post() -> None:
            for item in left:
                (await client.post(url, json={"specversion": "1.0", "data": item["payload"]})).raise_for_status()

        begun = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(_AT_ONCE)))
        return len(items) / (time.perf_counter() - begun)


async def by_relay(dsn: str, url: str, items: list[dict[str, Any]]) -> float:
    """Events a second, of a backlog."""
    bus = bus_to(dsn, url)
    await bus.publish_many(items)
    begun = time.perf_counter()
    async with bus:
        await bus.drain(timeout=600)
        return len(items) / (time.perf_counter() - begun)


async def latencies(dsn: str, receiver: Receiver, count: int) -> tuple[float, float]:
    """Median milliseconds by httpx, and by a relay."""
    bus, sent = bus_to(dsn, receiver.url), {}
    items = events(2 * count)
    async with bus, httpx.AsyncClient() as client:
        await bus.publish_many(events(1))
        await bus.drain(timeout=60)  # connected
        for plain, relayed in zip(items[:count], items[count:], strict=True):
            sent[plain["payload"]["id"]] = time.monotonic()
            await client.post(receiver.url, json={"data": plain["payload"]})
            sent[relayed["payload"]["id"]] = time.monotonic()
            await bus.publish(**relayed)
            await bus.drain(timeout=60)
    at = {arrival.id: arrival.at for arrival in receiver.arrivals()}
    took = [1000 * (at[item["payload"]["id"]] - sent[item["payload"]["id"]]) for item in items]
    return statistics.median(took[:count]), statistics.median(took[count:])


class Faults(NamedTuple):
    sent: int
    delivered: int
    repeated: int
    lost: int
    disorder: int
    dead: int
    recovery_s: float


async def under_kills(dsn: str, receiver: Receiver, items: list[dict[str, Any]]) -> Faults:
    """The receiver is killed and started again while events are published."""
    bus, part = bus_to(dsn, receiver.url), len(items) // (_KILLS + 1)
    recoveries = []
    async with bus:
        await bus.publish_many(items[:part])
        for kill in range(_KILLS):
            receiver.kill()
            await bus.publish_many(items[part * (kill + 1) : part * (kill + 2) if kill < _KILLS - 1 else None])
            await asyncio.sleep(_AWAY_SECONDS)
            receiver.start()
            up = time.monotonic()
            while not (later := [one.at for one in receiver.arrivals() if one.at > up]):  # noqa: ASYNC110 - the file is looked at
                await asyncio.sleep(0.01)
            recoveries.append(min(later) - up)
        await bus.drain(timeout=600)
    mine = {item["payload"]["id"] for item in items}
    arrived = [one for one in receiver.arrivals() if one.id in mine]
    first = list({one.id: one for one in reversed(arrived)}.values())[::-1]
    newest: Counter[str] = Counter()
    disorder = 0
    for one in first:
        disorder += one.place < newest[one.key]
        newest[one.key] = max(newest[one.key], one.place)
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select count(*) from holdfast.deliveries where state = 'dead'").fetchone()
    assert found is not None
    return Faults(
        len(mine), len(first), len(arrived) - len(first), len(mine) - len(first), disorder, found[0], max(recoveries)
    )


def row(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(f'{one:,}' if isinstance(one, int) else str(one) for one in cells)} |"


async def measure(dsn: str, folder: Path, share: int) -> list[str]:
    """The two tables."""
    count, rounds = _EVENTS // share, _ROUNDS if share == 1 else 1
    receiver = Receiver(folder / "arrivals.jsonl")
    receiver.start()
    try:
        plain, relayed = [], []
        for _ in range(rounds):
            plain.append(await by_httpx(receiver.url, events(count)))
            relayed.append(await by_relay(dsn, receiver.url, events(count)))
        plain_ms, relayed_ms = await latencies(dsn, receiver, _LATENCIES // share)
        faults = await under_kills(dsn, receiver, events(count))
    finally:
        receiver.kill()
    ratio = statistics.median(relayed) / statistics.median(plain)
    return [
        "| sent | delivered | repeated | lost | order violations | dead | recovery, at most |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        row(*faults[:-1], f"{faults.recovery_s:.2f} s"),
        "",
        "| | httpx alone | relay | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| events a second, {_AT_ONCE} at once | {statistics.median(plain):,.0f} | {statistics.median(relayed):,.0f} | {ratio:.2f} |",
        f"| latency, median ms | {plain_ms:.1f} | {relayed_ms:.1f} | |",
    ]


def page(share: int = 1) -> str:
    with LocalPostgres(fsync=True) as server, tempfile.TemporaryDirectory() as folder:
        facts = machine(server.data_dir)
        tables = asyncio.run(measure(server.dsn(), Path(folder), share))
    return "\n".join(
        [
            f"# Webhooks, {datetime.now(UTC):%Y-%m-%d}",
            "",
            "; ".join(f"{name}: {value}" for name, value in facts.items()),
            "",
            f"The receiver was killed {_KILLS} times, and away for {_AWAY_SECONDS:g} s each time. Rates are medians of {_ROUNDS}, in turns.",
            "",
            *tables,
            "",
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["receive"]:
        receive(int(sys.argv[2]), sys.argv[3])
        sys.exit()
    logging.getLogger("holdfast").setLevel(logging.CRITICAL)  # outages are meant
    is_whole = len(sys.argv) == 1
    made = page() if is_whole else page(int(sys.argv[1]))
    if is_whole:
        RESULTS.write_text(made, "utf-8")
    sys.stdout.write(made)
