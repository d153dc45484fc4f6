"""Everything works through PgBouncer in transaction mode, where no session is one's own and no NOTIFY arrives."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from holdfast import EventBus, RetryPolicy
from holdfast.stores import make_store
from holdfast.testing import LocalPostgres
from tests.chaos.servers import PGBOUNCER, PgBouncer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast import Delivery, Event

pytestmark = pytest.mark.skipif(not PGBOUNCER.is_met, reason=f"not run: needs {PGBOUNCER}")
COUNT = 400


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    with LocalPostgres(fsync=False) as server:
        yield server


@pytest.fixture(scope="module")
def pooler(server: LocalPostgres) -> Iterator[PgBouncer]:
    # Fewer sessions than a bus alone has roles: transactions do move from one to the other.
    with PgBouncer(server.port, size=4) as pooler:
        yield pooler


@pytest.fixture
def name(server: LocalPostgres) -> str:
    """A new database, with a table for effects."""
    name = f"pooled_{uuid4().hex[:8]}"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
    with psycopg.connect(server.dsn(name)) as connection:
        connection.execute("create table effects (subscription text, n integer)")
    return name


def effects(server: LocalPostgres, name: str, subscription: str) -> Counter[int]:
    with psycopg.connect(server.dsn(name)) as connection:
        return Counter(
            n for (n,) in connection.execute("select n from effects where subscription = %s", [subscription])
        )


async def test_events_are_published_handled_retried_and_drained(server, pooler, name) -> None:
    bus = EventBus(pooler.dsn(name), auto_migrate=True, spool="off")
    seen: dict[str, list[int]] = {}
    failed = set[int]()

    @bus.subscribe("n", name="plain", retry=RetryPolicy(base=0))
    async def plain(event: Event) -> None:
        number = event.payload["n"]
        if number % 50 == 0 and number not in failed:
            failed.add(number)
            raise RuntimeError("the first time")
        seen.setdefault(event.key or "", []).append(number)

    @bus.subscribe("n", name="within", transactional=True)
    async def within(event: Event, delivery: Delivery) -> None:
        await delivery.connection.execute("insert into effects values ('async', %s)", [event.payload["n"]])

    @bus.subscribe("n", name="within_sync", transactional=True)
    def within_sync(event: Event, delivery: Delivery) -> None:
        delivery.connection.execute("insert into effects values ('sync', %s)", [event.payload["n"]])

    async with bus:
        await asyncio.gather(*(bus.publish("n", {"n": n}, key=f"k{n % 7}") for n in range(COUNT)))
        await bus.drain(30)
    assert {number for numbers in seen.values() for number in numbers} == set(range(COUNT))
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    for subscription in ("async", "sync"):
        assert effects(server, name, subscription) == Counter(range(COUNT))


async def test_publishing_joins_a_transaction_that_comes_through_it(pooler, name) -> None:
    bus = EventBus(pooler.dsn(name), auto_migrate=True, spool="off")
    seen = list[int]()
    bus.subscribe("n", lambda event: seen.append(event.payload), name="seen")
    async with bus:
        async with await psycopg.AsyncConnection.connect(pooler.dsn(name), prepare_threshold=None) as caller:
            for n in range(20):
                await bus.publish("n", n, tx=caller, key="one")
                await (caller.commit() if n % 2 else caller.rollback())
        await bus.drain(20)
    assert seen == list(range(1, 20, 2))


async def test_two_workers_share_the_work_and_a_crash_of_the_server_loses_nothing(server, pooler, name) -> None:
    buses = [EventBus(pooler.dsn(name), auto_migrate=True, spool="off", store_timeout=10) for _ in range(2)]
    seen = set[int]()
    for bus in buses:
        bus.subscribe("n", lambda event: seen.add(event.payload), name="seen", partitions=8)
    async with buses[0], buses[1]:
        for number in range(40):
            await buses[number % 2].publish("n", number, key=f"k{number % 5}")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        for number in range(40, 80):
            await buses[number % 2].publish("n", number, key=f"k{number % 5}")
        await buses[0].drain(30)
    assert seen == set(range(80))


async def test_a_connection_prepares_statements_only_where_they_stay(server, pooler, name) -> None:
    for dsn, prepares in ((server.dsn(name), True), (pooler.dsn(name), False)):
        store = make_store(dsn, timeout=10)
        await store.migrate()
        await store.open()
        for _ in range(20):
            await store.notify()
        connection = store._lease._connection
        assert (connection.prepare_threshold is not None) is prepares
        await store.close()
