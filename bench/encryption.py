"""What encrypting payloads costs: events a second published and drained, and processor time, with and without.

Each round makes an empty store, publishes by ``publish_many`` a thousand at a time, closes the bus, and drains what is
there with another one that knows no key yet: one worker, a handler that reads the payload and does nothing else. Rounds
with and without encryption take turns, so that what else the machine does meets both. Payloads are 200 bytes, of a
thousand subjects. Processor time is the client's. The last two figures are of the codec alone, without a store.

    python bench/encryption.py           measures, and writes bench/results/encryption.md
    python bench/encryption.py 100       a hundredth of the events, once, only shown
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import psycopg

from holdfast import Event, EventBus
from holdfast.bench.machine import machine
from holdfast.encryption import MasterKeys
from holdfast.encryption.codec import Codec
from holdfast.event import NewEvent, Row
from holdfast.ids import new_id
from holdfast.testing import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.stores.values import Subject, SubjectKey

RESULTS = Path(__file__).parent / "results" / "encryption.md"

_EVENTS = 50_000
_ROUNDS = 5
_PART = 1_000
_SUBJECTS = 1_000
_PAYLOAD = {"customer": "ann@example.org", "order": 17, "note": "x" * 150}
_KEYS = MasterKeys({"bench": bytes(range(32))})

_LEGEND = (
    "Without → with encryption, medians of {rounds} rounds taking turns. Events a second, with the share that encryption "
    "takes; µs: processor time of the client for each event."
)

Dsns = Callable[[], str]


class Run(NamedTuple):
    """One round: events a second, and microseconds of the client's processor for an event."""

    publish: float
    publish_us: float
    drain: float
    drain_us: float


class Timer:
    """Wall and processor time from its making on."""

    def __init__(self) -> None:
        self._wall, self._busy = time.perf_counter(), time.process_time()

    def per_event(self, events: int) -> tuple[float, float]:
        """Events a second, and microseconds of processor time for each."""
        wall, busy = time.perf_counter() - self._wall, time.process_time() - self._busy
        return events / wall, 1e6 * busy / events


async def run(dsn: str, events: int, keys: MasterKeys | None) -> Run:
    """Publish and drain *events*."""
    bus = EventBus(dsn, auto_migrate=True, spool="off", encryption=keys)
    await bus.publish("bench.begun")
    timer = Timer()
    for start in range(0, events, _PART):
        part = range(start, min(start + _PART, events))
        await bus.publish_many([{"name": "bench.event", "payload": _PAYLOAD, "key": f"k{n % _SUBJECTS}"} for n in part])
    publish = timer.per_event(events)
    await bus.close()
    drainer, seen = EventBus(dsn, spool="off", encryption=keys), [0]

    @drainer.subscribe("bench.event", name="bench", start="beginning")
    async def handle(event: Event) -> None:
        seen[0] += len(event.payload["note"]) == 150

    timer = Timer()
    await drainer.drain(600)
    drain = timer.per_event(events)
    await drainer.close()
    assert seen[0] == events, f"{seen[0]} of {events} were handled"
    return Run(*publish, *drain)


class Shelf:
    """Keys in memory: what the codec alone needs of a store."""

    def __init__(self) -> None:
        self._rows: list[SubjectKey] = []

    async def find_keys(self, subjects: Sequence[Subject], ids: Sequence[object]) -> list[SubjectKey]:
        return [one for one in self._rows if one.subject in set(subjects) or one.id in set(ids)]

    async def add_keys(self, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
        self._rows += keys
        return list(keys)


async def codec_us(events: int) -> tuple[float, float]:
    """Microseconds of encrypting and of decrypting one payload, all keys known."""
    codec, payload = Codec(Shelf(), _KEYS), b'{"note":"%b"}' % (b"x" * 189)
    plain = [NewEvent(new_id(), "acme", "bench.event", f"k{n % 100}", payload) for n in range(events)]
    await codec.sealed(plain[:100])
    timer = Timer()
    sealed = await codec.sealed(plain)
    _, seal_us = timer.per_event(events)
    rows = [Row(0, one.id.bytes, 0, 0, 0, one.tenant_id, one.name, one.key, one.payload, None) for one in sealed]
    await codec.opened(rows[:100])
    timer = Timer()
    opened = await codec.opened(rows)
    _, open_us = timer.per_event(events)
    assert opened[-1].payload == payload
    return seal_us, open_us


def figures(dsns: Dsns, events: int, rounds: int) -> Iterator[str]:
    """The cells of one store: each figure without and with encryption, and what it costs."""
    found: dict[bool, list[Run]] = {False: [], True: []}
    for _ in range(rounds):
        for is_encrypted, runs in found.items():
            runs.append(asyncio.run(run(dsns(), events, _KEYS if is_encrypted else None)))
    for field in Run._fields:
        plain, encrypted = (statistics.median(getattr(one, field) for one in runs) for runs in found.values())
        if field.endswith("_us"):
            yield f"{plain:.1f} → {encrypted:.1f} µs"
        else:
            yield f"{plain:,.0f} → {encrypted:,.0f} ({100 * (1 - encrypted / plain):.0f} %)"


def table(share: int = 1) -> str:
    """Both stores, with the *share*-th part of the events."""
    events, rounds = _EVENTS // share, _ROUNDS if share == 1 else 1
    with LocalPostgres(fsync=True) as server, tempfile.TemporaryDirectory() as folder:
        facts = machine(server.data_dir)

        def database() -> str:
            name = f"bench_{uuid4().hex[:12]}"
            with psycopg.connect(server.dsn(), autocommit=True) as admin:
                admin.execute(f'create database "{name}"')
            return server.dsn(name)

        def file() -> str:
            return f"sqlite:///{folder}/{uuid4().hex}.db"

        rows = [
            f"| {store} | {events:,} | {' | '.join(figures(dsns, events, rounds))} |"
            for store, dsns in (("PostgreSQL", database), ("SQLite", file))
        ]
    seal_us, open_us = asyncio.run(codec_us(events))
    return "\n".join(
        [
            f"# Encryption, {datetime.now(UTC):%Y-%m-%d}",
            "",
            "; ".join(f"{name}: {value}" for name, value in facts.items()),
            "",
            _LEGEND.format(rounds=rounds),
            "",
            "| store | events | publish | publish, CPU | drain | drain, CPU |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"The codec alone, a payload of 200 bytes: encrypting {seal_us:.1f} µs, decrypting {open_us:.1f} µs.",
            "",
        ]
    )


if __name__ == "__main__":
    is_whole = len(sys.argv) == 1
    made = table() if is_whole else table(int(sys.argv[1]))
    if is_whole:
        RESULTS.write_text(made, "utf-8")
    sys.stdout.write(made)
