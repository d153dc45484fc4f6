"""How long an operator waits: each way of searching and looking, over a large log, on both stores.

The log is that of ten days: a thousand tenants beside one that has half of it, keys with ten events each, chains of ten
events that cause each other, a twentieth that waits for three subscriptions, dead letters of twenty kinds. All search
indexes are built. Each question is asked with other values each time, once before the clock runs; what is measured is
what the dashboard and the command line call, from the call to the records. The bar is a p95 of 300 ms.

    python bench/searching.py           10 million events; writes bench/results/searching.json and searching.md
    python bench/searching.py DSN       the same of that store alone, loaded unless it is; the other's figures stay
    python bench/searching.py 20000     so many, each question a few times, only shown
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import psycopg

from holdfast import EventBus
from holdfast.bench.machine import machine
from holdfast.stores import make_store
from holdfast.stores.filters import DeadFilter, EventFilter, PayloadMatch
from holdfast.stores.inspector import make_inspector
from holdfast.stores.sqlite.files import path_of
from holdfast.testing import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from holdfast.stores.inspector import Inspector

RESULTS = Path(__file__).parent / "results"

_EVENTS = 10_000_000
_WAITING = 20  # one of so many
_TIMES, _FEW_TIMES = 40, 5
_BAR_MS = 300.0
_CHUNK = 50_000
_DAYS = 10
_CHAIN = 10
_COMMON = [f"order.step-{number}" for number in range(20)]
_RARE = "order.refunded"
_RARELY = 10_000
_TENANTS = 1_000
_DEAD = 500  # one of so many
_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
_INDEXES = ("causation", "correlation", "key", "name", "tenant", "time")


@dataclass(frozen=True)
class Log:
    """What is stored: the *number*-th of *events* says all about itself."""

    events: int
    begun: datetime

    @property
    def history(self) -> int:
        """How many are handled."""
        return self.events - self.events // _WAITING

    def at(self, number: int) -> datetime:
        return self.begun + number * timedelta(days=_DAYS) / self.events

    def id(self, number: int) -> UUID:
        return UUID(self.id_text(number))

    def id_text(self, number: int) -> str:
        """Of version 7, by the time of the event, and ascending."""
        millis = f"{int(self.begun.timestamp() * 1000) + number * _DAYS * 86_400_000 // self.events:012x}"
        place = f"{number:015x}"
        return f"{millis[:8]}-{millis[8:]}-7000-8{place[:3]}-{place[3:]}"

    def tenant(self, number: int) -> str:
        return "large" if number % 2 else f"tenant-{number * 7919 % _TENANTS}"

    def key(self, number: int) -> str:
        return f"order-{number % max(1, self.events // 10)}"

    def name(self, number: int) -> str:
        return _RARE if number % _RARELY == 0 else _COMMON[number % len(_COMMON)]

    def payload(self, number: int) -> str:
        return f'{{"order_id": {number}, "amount": {number % 997}, "note": "{"x" * 120}"}}'

    def headers(self, number: int) -> str | None:
        if not number % _CHAIN:
            return None
        first = number - number % _CHAIN
        return f'{{"correlation_id": "{self.id_text(first)}", "causation_id": "{self.id_text(number - 1)}"}}'


class Figure(NamedTuple):
    """Milliseconds of one question."""

    store: str
    question: str
    p50_ms: float
    p95_ms: float
    max_ms: float


# ---- loading


def load(dsn: str, log: Log) -> None:
    """Store the history, register, write its receipts, and store what waits."""
    place = PostgresPlace(dsn) if dsn.startswith("postgresql") else SQLitePlace(dsn)
    asyncio.run(declare(dsn, ()))
    place.prepare(log)
    with closing(place):
        for step in (
            lambda: place.store(log, range(log.history)),
            lambda: asyncio.run(declare(dsn, ("**", "order.*", _COMMON[0]))),
            lambda: place.handle(log),
            lambda: place.store(log, range(log.history, log.events)),
            lambda: place.bury(log),
            lambda: asyncio.run(index(dsn)),
            place.tidy,
        ):
            begun = time.perf_counter()
            step()
            sys.stderr.write(f"loading: {time.perf_counter() - begun:.1f} s\n")


async def declare(dsn: str, patterns: Iterable[str]) -> None:
    """Make the tables and register: who does so now begins behind what is stored."""
    bus = EventBus(dsn, spool="off", auto_migrate=True)
    for number, pattern in enumerate(patterns):
        bus.subscribe(pattern, lambda _: None, name=f"s{number}")
    await bus.publish("of.nobody", {})
    await bus.close()


async def index(dsn: str) -> None:
    store = make_store(dsn, timeout=60)
    inspector, operator = make_inspector(store)
    for name in _INDEXES:
        await operator.add_index(name, actor="bench")
    await inspector.close()
    await store.close()


def chunks(numbers: range) -> Iterator[list[int]]:
    remaining = iter(numbers)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


class PostgresPlace:
    """Loads by COPY, as the owner of the tables."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self.close = self._connection.close

    def prepare(self, log: Log) -> None:
        for day in range(_DAYS + 1):
            at = (log.begun + timedelta(days=day)).date()
            self._connection.execute("select holdfast.make_day(%s) where to_regclass(%s) is null", [
                at, f"holdfast.event_log_{at:%Y%m%d}",
            ])  # fmt: skip

    def store(self, log: Log, numbers: range) -> None:
        columns = "id, day, occurred_at, tenant_id, event_name, event_key, payload, headers"
        for chunk in chunks(numbers):
            with (
                self._connection.cursor() as cursor,
                cursor.copy(f"copy holdfast.event_log ({columns}) from stdin") as to,
            ):
                to.write("".join(self._line(log, number) for number in chunk))

    @staticmethod
    def _line(log: Log, number: int) -> str:
        at = log.at(number)
        return (
            f"{log.id_text(number)}\t{at.date()}\t{at.isoformat()}\t{log.tenant(number)}\t{log.name(number)}\t"
            f"{log.key(number)}\t{log.payload(number)}\t{log.headers(number) or chr(92) + 'N'}\n"
        )

    def handle(self, log: Log) -> None:
        del log
        self._connection.execute("""
            insert into holdfast.receipts (day, subscription, event_id, processed_at)
            select e.day, s.id, e.id, e.occurred_at from holdfast.event_log as e
            join holdfast.subscriptions as s on s.name = 's0' where pg_visible_in_snapshot(e.txid, s.start_snapshot)""")

    def bury(self, log: Log) -> None:
        numbers = list(range(0, log.history, _DEAD))
        self._connection.execute(
            """
            insert into holdfast.deliveries (subscription, partition, event_id, day, position, tenant_id, event_key,
                event_name, state, attempts, reason)
            select s.id, e.slot %% s.partitions, e.id, e.day, e.position, e.tenant_id, e.event_key, e.event_name,
                case when made.n %% 10 = 0 then 'retrying' else 'dead' end, 5, 'attempts exhausted'
            from unnest(%(ids)s::uuid[]) with ordinality as made(id, n)
            join holdfast.event_log as e on e.id = made.id
            join holdfast.subscriptions as s on s.name = 's1'""",
            {"ids": [log.id(number) for number in numbers]},
        )
        self._connection.execute("""
            insert into holdfast.attempts (subscription, event_id, day, attempt, outcome, error, message, seconds)
            select subscription, event_id, day, 5, 'failed', 'Error' || (id % 20), 'order ' || id || ' failed', 0.01
            from holdfast.deliveries""")

    def tidy(self) -> None:
        self._connection.execute("vacuum analyze")


class SQLitePlace:
    """Loads by plain INSERT."""

    def __init__(self, dsn: str) -> None:
        self._connection = sqlite3.connect(path_of(dsn) or "", isolation_level=None, timeout=60)
        self.close = self._connection.close

    def prepare(self, log: Log) -> None:
        del log
        self._connection.execute("pragma synchronous = off")
        self._connection.execute("pragma cache_size = -500000")

    def store(self, log: Log, numbers: range) -> None:
        into = "insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload, headers)"
        for chunk in chunks(numbers):
            self._connection.execute("begin immediate")
            self._connection.executemany(f"{into} values (?, ?, ?, ?, ?, ?, ?)", (
                (log.id_text(number), f"{log.at(number).replace(tzinfo=None).isoformat(timespec='microseconds')}Z", log.tenant(number), log.name(number),
                 log.key(number), log.payload(number), log.headers(number))
                for number in chunk
            ))  # fmt: skip
            self._connection.execute("commit")

    def handle(self, log: Log) -> None:
        del log
        self._connection.execute("""
            insert into receipts (event_id, subscription, processed_at)
            select e.id, s.id, e.occurred_at from event_log as e join subscriptions as s on s.name = 's0'
            where e.position <= s.start_horizon""")

    def bury(self, log: Log) -> None:
        ids = [(log.id_text(number), place) for place, number in enumerate(range(0, log.history, _DEAD), 1)]
        self._connection.execute("begin immediate")
        self._connection.executemany(
            """
            insert into deliveries (subscription, partition, event_id, position, tenant_id, event_key, event_name, state,
                attempts, due_at, reason, created_at, updated_at)
            select s.id, 0, e.id, e.position, e.tenant_id, e.event_key, e.event_name,
                case when ?2 % 10 = 0 then 'retrying' else 'dead' end, 5, e.occurred_at, 'attempts exhausted',
                e.occurred_at, e.occurred_at
            from event_log as e join subscriptions as s on s.name = 's1' where e.id = ?1""",
            ids,
        )
        self._connection.execute("""
            insert into attempts (subscription, event_id, attempt, outcome, error, message, seconds, finished_at)
            select subscription, event_id, 5, 'failed', 'Error' || (id % 20), 'order ' || id || ' failed', 0.01, updated_at
            from deliveries""")
        self._connection.execute("commit")

    def tidy(self) -> None:
        self._connection.execute("analyze")
        self._connection.execute("pragma wal_checkpoint(truncate)")


# ---- asking


def questions(look: Inspector, log: Log, chance: Random) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is asked, by what it is called in the table."""

    def one() -> int:
        return chance.randrange(log.history)

    def somewhere() -> int:
        return chance.randrange(log.events // 10, log.events)

    def within(hours: float) -> dict[str, datetime]:
        since = log.at(one())
        return {"since": since, "until": since + timedelta(hours=hours)}

    def events(before: int | None = None, status: str | None = None, **filters: Any) -> Awaitable[object]:
        return look.events(EventFilter(**filters), before=before, status=status)

    async def overview() -> None:
        await look.status()
        await look.samples(datetime.now(UTC) - timedelta(minutes=15))
        await look.storage()

    async def event_page() -> None:
        event_id = log.id(one())
        await look.event(event_id)
        await look.causation(event_id)

    nowhere = PayloadMatch("order_id", "-1")
    return {
        "the newest events": events,
        "an id": lambda: events(event_id=log.id(one())),
        "a time: an hour": lambda: events(**within(1)),
        "a time and a tenant": lambda: events(tenant_id=log.tenant(2 * (one() // 2)), **within(1)),
        "a tenant among a thousand": lambda: events(tenant_id=f"tenant-{chance.randrange(0, _TENANTS, 2)}"),
        "the tenant that has half": lambda: events(tenant_id="large"),
        "a key": lambda: events(key=log.key(one())),
        "a name": lambda: events(name=chance.choice(_COMMON)),
        "a rare name": lambda: events(name=_RARE),
        "a correlation": lambda: look.events(EventFilter(), correlation_id=str(log.id(one() // _CHAIN * _CHAIN))),
        "deep in the log": lambda: events(before=somewhere()),
        "deep in a tenant": lambda: events(before=somewhere(), tenant_id="large"),
        "deep in a name": lambda: events(before=somewhere(), name=chance.choice(_COMMON)),
        "status pending": lambda: events(status="pending"),
        "status processing, none found": lambda: events(status="processing"),
        "status processing deep in the log, none found": lambda: events(before=somewhere(), status="processing"),
        "status failed": lambda: events(status="failed"),
        "status dead": lambda: events(status="dead"),
        "a payload value, none found": lambda: look.events(EventFilter(), payload=nowhere),
        "how many of a tenant": lambda: look.estimate(EventFilter(tenant_id="large")),
        "status of all subscriptions": look.status,
        "the overview page": overview,
        "the event page": event_page,
        "a causation tree": lambda: look.causation(log.id(one())),
        "groups of dead letters": lambda: look.dead_groups(DeadFilter()),
        "dead letters": lambda: look.dead(DeadFilter()),
    }


async def ask(dsn: str, log: Log, times: int) -> list[Figure]:
    store = make_store(dsn, timeout=60)
    inspector, _ = make_inspector(store)
    name = "PostgreSQL" if dsn.startswith("postgresql") else "SQLite"
    figures = []
    for question, answered in questions(inspector, log, Random(7)).items():
        await answered()
        taken = sorted([await timed(answered) for _ in range(times)])
        figures.append(Figure(name, question, taken[times // 2], taken[int(times * 0.95)], taken[-1]))
        sys.stderr.write(f"{figures[-1]}\n")
    await inspector.close()
    await store.close()
    return figures


async def timed(answered: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    await answered()
    return 1000 * (time.perf_counter() - begun)


# ---- telling


def table(log: Log, facts: dict[str, str], figures: list[Figure], times: int = _TIMES) -> str:
    """Both stores side by side."""
    by_question: dict[str, list[Figure]] = {}
    for figure in figures:
        by_question.setdefault(figure.question, []).append(figure)
    rows = [
        f"| {question} | " + " | ".join(f"{one.p50_ms:.1f} | {one.p95_ms:.1f} | {one.max_ms:.1f}" for one in found) + " |"
        for question, found in by_question.items()
    ]  # fmt: skip
    slow = [f"{one.question} ({one.store}, {one.p95_ms:.0f} ms)" for one in figures if one.p95_ms >= _BAR_MS]
    verdict = (
        f"over the bar of {_BAR_MS:.0f} ms at p95: {', '.join(slow)}" if slow else f"all under {_BAR_MS:.0f} ms at p95"
    )
    stores = list(dict.fromkeys(one.store for one in figures))
    measured = (
        f"{datetime.now(UTC):%Y-%m-%d}, {facts['processor']}, {facts['cores']} cores, {facts['memory']}, {facts['python']}, "
        f"load before {facts['load before']}: "
        f"{log.events:,} events, each question {times} times; milliseconds; {verdict}."
    )
    return "\n".join([
        measured,
        "",
        "| looked for | " + " | ".join(f"{store} p50 | p95 | max" for store in stores) + " |",
        "| --- | " + " | ".join(["---: | ---: | ---:"] * len(stores)) + " |",
        *rows,
        "",
    ])  # fmt: skip


def measure(events: int, times: int = _TIMES) -> tuple[Log, dict[str, str], list[Figure]]:
    """Both stores, made for it."""
    log, figures = Log(events, now() - timedelta(days=_DAYS)), list[Figure]()
    with tempfile.TemporaryDirectory() as folder, LocalPostgres(fsync=False, settings=_SETTINGS) as server:
        facts = machine(server.data_dir)
        for dsn in (server.dsn(), f"sqlite:///{folder}/searching.db"):
            load(dsn, log)
            figures += asyncio.run(ask(dsn, log, times))
    return log, facts, figures


def measure_one(dsn: str, path: Path) -> tuple[Log, dict[str, str], list[Figure]]:
    """One store, which stays; the other's figures are those that *path* has."""
    if (log := loaded(dsn)) is None:
        load(dsn, log := Log(_EVENTS, now() - timedelta(days=_DAYS)))
    facts, figures = machine(RESULTS), asyncio.run(ask(dsn, log, _TIMES))
    others = [Figure(**one) for one in json.loads(path.read_text("utf-8"))["figures"]] if path.exists() else []
    others = [one for one in others if one.store != figures[0].store]
    return log, facts, sorted([*others, *figures], key=lambda one: one.store)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def loaded(dsn: str) -> Log | None:
    """What an earlier run has stored there, as its first and its last event tell."""
    postgres = dsn.startswith("postgresql")
    try:
        with closing(psycopg.connect(dsn) if postgres else sqlite3.connect(path_of(dsn) or "")) as connection:
            schema = "holdfast." if postgres else ""
            first, last = (
                connection.execute(
                    f"select occurred_at, payload from {schema}event_log where event_name <> 'of.nobody' "
                    f"order by position {order} limit 1"
                ).fetchone()
                for order in ("asc", "desc")
            )
    except (psycopg.Error, sqlite3.Error):
        return None
    payload = last[1] if postgres else json.loads(last[1])
    begun = first[0] if postgres else datetime.fromisoformat(first[0])
    return Log(payload["order_id"] + 1, begun.astimezone(UTC))


if __name__ == "__main__":
    argument = sys.argv[1] if len(sys.argv) > 1 else ""
    if argument.isdigit():
        sys.stdout.write(table(*measure(int(argument), _FEW_TIMES), _FEW_TIMES))
    else:
        target = RESULTS / "searching.json"
        log, facts, figures = measure_one(argument, target) if argument else measure(_EVENTS)
        told = {"facts": facts, "events": log.events, "figures": [one._asdict() for one in figures]}
        target.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        target.with_suffix(".md").write_text(text := table(log, facts, figures), "utf-8")
        sys.stdout.write(text)
