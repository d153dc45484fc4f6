"""Transactional handlers: the handler's writes, its receipt and what it publishes are one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import Delivery, Event, EventBus, RetryPolicy
from holdfast.errors import HoldfastError, TransactionError

from .waiting import receipts, sql, stored, until

if TYPE_CHECKING:
    from collections.abc import Callable

FAST = RetryPolicy(max_attempts=3, base=0.01)


class Flaw(Exception):
    """What handlers here fail with."""


async def with_table(bus: EventBus, dsn: str) -> None:
    await bus.publish("warm.up")
    sql(dsn, "create table effects (value integer)")


def effects(dsn: str) -> list[int]:
    return [value for (value,) in sql(dsn, "select value from effects order by value")]


async def write(delivery: Delivery, value: int) -> None:
    """One row on the handler's own connection, whichever kind it is."""
    connection = delivery.connection
    if isinstance(connection, sqlite3.Connection):
        connection.execute("insert into effects values (?)", (value,))
    else:
        await connection.execute("insert into public.effects values (%s)", (value,))


def write_sync(delivery: Delivery, value: int) -> None:
    mark = "?" if isinstance(delivery.connection, sqlite3.Connection) else "%s"
    table = "effects" if mark == "?" else "public.effects"
    delivery.connection.execute(f"insert into {table} values ({mark})", (value,))


def subscribe(bus: EventBus, act: Callable[[Event, Delivery], Any], *, is_async: bool, **options: Any) -> None:
    """*act* returns a value to write after it, or None."""

    async def handle_async(event: Event, delivery: Delivery) -> None:
        await write(delivery, event.payload)
        act(event, delivery)

    def handle(event: Event, delivery: Delivery) -> None:
        write_sync(delivery, event.payload)
        act(event, delivery)

    bus.subscribe("a", handle_async if is_async else handle, name="h", transactional=True, **{"retry": FAST, **options})


@pytest.mark.parametrize("is_async", [True, False])
async def test_effect_and_receipt_are_one(shared_bus: EventBus, shared_dsn: str, is_async: bool) -> None:
    await with_table(shared_bus, shared_dsn)
    on_postgres = psycopg.AsyncConnection if is_async else psycopg.Connection
    kind = sqlite3.Connection if shared_dsn.startswith("sqlite") else on_postgres
    lent = list[bool]()
    subscribe(shared_bus, lambda event, delivery: lent.append(isinstance(delivery.connection, kind)), is_async=is_async)
    await shared_bus.publish_many([{"name": "a", "payload": n} for n in range(40)])
    await shared_bus.drain(20)
    assert effects(shared_dsn) == list(range(40))
    assert receipts(shared_dsn) == 40
    assert lent == [True] * 40


@pytest.mark.parametrize("is_async", [True, False])
async def test_nothing_is_visible_outside_before_the_handler_ends(
    shared_bus: EventBus, shared_dsn: str, is_async: bool
) -> None:
    await with_table(shared_bus, shared_dsn)
    seen: list[Any] = []
    subscribe(shared_bus, lambda *_: seen.append((effects(shared_dsn), receipts(shared_dsn))), is_async=is_async)
    await shared_bus.publish("a", 1)
    await shared_bus.drain(10)
    assert seen == [([], 0)]
    assert (effects(shared_dsn), receipts(shared_dsn)) == ([1], 1)


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_exception_rolls_back_and_the_retry_has_one_effect(
    shared_bus: EventBus, shared_dsn: str, is_async: bool
) -> None:
    await with_table(shared_bus, shared_dsn)
    attempts: list[int] = []

    def act(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt < 3:
            raise Flaw

    subscribe(shared_bus, act, is_async=is_async)
    await shared_bus.publish("a", 1, key="k")
    await shared_bus.drain(10)
    assert attempts == [1, 2, 3]
    assert (effects(shared_dsn), receipts(shared_dsn)) == ([1], 1)
    assert sql(shared_dsn, "select attempts from event_consumers") == [(3,)]


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_ends_dead_has_neither_effect_nor_receipt(
    shared_bus: EventBus, shared_dsn: str, is_async: bool
) -> None:
    await with_table(shared_bus, shared_dsn)

    def act(event: Event, delivery: Delivery) -> None:
        raise Flaw

    subscribe(shared_bus, act, is_async=is_async)
    await shared_bus.publish("a", 1)
    await shared_bus.drain(10)
    assert (effects(shared_dsn), receipts(shared_dsn)) == ([], 0)
    assert stored(shared_dsn) == ["warm.up", "a", "holdfast.delivery.dead"]


async def test_a_timeout_rolls_back(shared_bus: EventBus, shared_dsn: str) -> None:
    await with_table(shared_bus, shared_dsn)
    attempts: list[int] = []

    @shared_bus.subscribe("a", name="h", transactional=True, timeout=0.3, retry=FAST)
    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        await write(delivery, delivery.attempt)
        if delivery.attempt == 1:
            await asyncio.sleep(60)

    await shared_bus.publish("a")
    await shared_bus.drain(15)
    assert attempts == [1, 2]
    assert effects(shared_dsn) == [2]


async def test_a_publish_inside_joins_the_transaction(shared_bus: EventBus, shared_dsn: str) -> None:
    await with_table(shared_bus, shared_dsn)

    @shared_bus.subscribe("a", name="h", transactional=True, retry=FAST)
    async def handle(event: Event, delivery: Delivery) -> None:
        await shared_bus.publish("single", delivery.attempt)
        await shared_bus.publish_many([{"name": "many", "payload": delivery.attempt}])
        assert "single" not in stored(shared_dsn)
        if delivery.attempt < 3:
            raise Flaw

    published = await shared_bus.publish("a")
    await shared_bus.drain(10)
    rows = sql(shared_dsn, "select event_name, payload from event_store where event_name in ('single', 'many')")
    assert sorted((name, str(payload)) for name, payload in rows) == [("many", "3"), ("single", "3")]
    headers = sql(shared_dsn, "select headers from event_log where event_name = 'single'")
    assert str(published.event_id) in str(headers)


async def test_what_it_publishes_is_delivered(bus: EventBus) -> None:
    seen: list[Event] = []
    bus.subscribe("b", seen.append, name="b")

    @bus.subscribe("a", name="a", transactional=True)
    async def handle(event: Event) -> None:
        await bus.publish("b", event.payload)

    await bus.publish("a", 7, tenant_id="acme")
    await bus.drain(10)
    assert [(event.payload, event.tenant_id) for event in seen] == [(7, "acme")]


async def test_tx_false_opts_out(emptied_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(emptied_dsn)

    @bus.subscribe("a", name="h", transactional=True, retry=FAST)
    async def handle(event: Event, delivery: Delivery) -> None:
        await bus.publish("audit", delivery.attempt, tx=False)
        assert "audit" in stored(emptied_dsn)
        if delivery.attempt < 3:
            raise Flaw

    await bus.publish("a")
    await bus.drain(10)
    assert stored(emptied_dsn).count("audit") == 3


async def test_tx_false_is_refused_on_sqlite(make_bus: Callable[..., EventBus], sqlite_dsn: str) -> None:
    for dsn in (sqlite_dsn, "sqlite://"):
        bus = make_bus(dsn)
        refused: list[BaseException] = []

        @bus.subscribe("a", name="h", transactional=True)
        async def handle(event: Event, bus: EventBus = bus, refused: list[BaseException] = refused) -> None:
            try:
                await bus.publish("b", tx=False)
            except TransactionError as error:
                refused.append(error)

        await bus.publish("a")
        await bus.drain(10)
        assert "tx=" in str(refused[0])


async def test_another_connection_of_the_handlers_own_wins(emptied_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(emptied_dsn)

    @bus.subscribe("a", name="h", transactional=True, retry=FAST)
    async def handle(event: Event, delivery: Delivery) -> None:
        async with await psycopg.AsyncConnection.connect(emptied_dsn) as own:
            await bus.publish("own", delivery.attempt, tx=own)
        if delivery.attempt < 2:
            raise Flaw

    await bus.publish("a")
    await bus.drain(10)
    assert stored(emptied_dsn).count("own") == 2


ENDINGS = ["commit", "rollback", "commit and begin again", "rollback and begin again", "close"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_handler_that_ends_the_transaction_fails_loudly(
    shared_bus: EventBus, shared_dsn: str, ending: str, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await with_table(shared_bus, shared_dsn)
    handled: list[int] = []

    def statements(delivery: Delivery) -> list[Any]:
        connection = delivery.connection
        first = getattr(connection, ending.split(maxsplit=1)[0])
        if "begin" not in ending:
            return [first]
        return [first, lambda: connection.execute("begin")]

    async def handle_async(event: Event, delivery: Delivery) -> None:
        if event.payload == "fine":
            handled.append(1)
            return
        await write(delivery, 1)
        for one in statements(delivery):
            result = one()
            if not isinstance(delivery.connection, sqlite3.Connection):
                await result

    def handle(event: Event, delivery: Delivery) -> None:
        if event.payload == "fine":
            handled.append(1)
            return
        write_sync(delivery, 1)
        for one in statements(delivery):
            one()

    letters: list[Event] = []
    shared_bus.subscribe("holdfast.delivery.dead", letters.append, name="letters")
    shared_bus.subscribe(
        "a", handle_async if is_async else handle, name="h", transactional=True, concurrency=1,
        retry=RetryPolicy(max_attempts=1),
    )  # fmt: skip
    await shared_bus.publish("a", "bad", key="k")
    await shared_bus.publish("a", "fine", key="k")
    await shared_bus.drain(15)
    assert handled == [1]
    assert len(letters) == 1
    assert "TransactionError" in letters[0].payload["error"]


async def test_errors_of_the_handlers_own_statements_reach_it_untranslated(
    shared_bus: EventBus, shared_dsn: str
) -> None:
    caught: list[BaseException] = []

    @shared_bus.subscribe("a", name="h", transactional=True, retry=RetryPolicy(max_attempts=1))
    async def handle(event: Event, delivery: Delivery) -> None:
        try:
            result = delivery.connection.execute("select * from no_such_table")
            if asyncio.iscoroutine(result):
                await result
        except Exception as error:
            caught.append(error)
            raise

    letters: list[Event] = []
    shared_bus.subscribe("holdfast.delivery.dead", letters.append, name="letters")
    await shared_bus.publish("a")
    await shared_bus.drain(10)
    assert not isinstance(caught[0], HoldfastError)
    assert letters[0].payload["error"].startswith(type(caught[0]).__name__)


async def test_retry_on_of_a_drivers_error_works_inside_a_transaction(shared_bus: EventBus, shared_dsn: str) -> None:
    """A policy names the errors that the handler raises, not what Holdfast makes of them."""
    driver = sqlite3.Error if shared_dsn.startswith("sqlite") else psycopg.Error
    attempts: list[int] = []

    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            result = delivery.connection.execute("select * from no_such_table")
            if asyncio.iscoroutine(result):
                await result

    shared_bus.subscribe("a", handle, name="h", transactional=True,
        retry=RetryPolicy(max_attempts=3, base=0.01, retry_on=(driver,)))  # fmt: skip
    await shared_bus.publish("a")
    await shared_bus.drain(10)
    assert attempts == [1, 2]


async def test_a_plain_function_that_returns_an_awaitable_is_not_taken_for_done(
    shared_bus: EventBus, shared_dsn: str
) -> None:
    """A decorator that hides an async handler: its effect must not be lost in silence."""
    await with_table(shared_bus, shared_dsn)

    async def work(event: Event, delivery: Delivery) -> None:
        await write(delivery, 1)

    def wrapper(event: Event, delivery: Delivery) -> Any:
        return work(event, delivery)

    shared_bus.subscribe("a", wrapper, name="h", transactional=True, retry=RetryPolicy(max_attempts=1))
    await shared_bus.publish("a")
    await shared_bus.drain(10)
    if not effects(shared_dsn):
        assert receipts(shared_dsn) == 0
        assert "holdfast.delivery.dead" in stored(shared_dsn)


async def test_many_at_once_do_not_wait_for_each_other_for_ever(shared_bus: EventBus, shared_dsn: str) -> None:
    """More handlers than connections, each of which publishes in its transaction."""
    await with_table(shared_bus, shared_dsn)

    @shared_bus.subscribe("a", name="h", transactional=True, concurrency=32)
    async def handle(event: Event, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        await write(delivery, event.payload)
        await shared_bus.publish("b", event.payload)

    async with shared_bus:
        await asyncio.gather(*(shared_bus.publish("a", n) for n in range(64)))
        await shared_bus.drain(30)
    assert effects(shared_dsn) == list(range(64))
    assert stored(shared_dsn).count("b") == 64


async def test_an_ordinary_handler_has_no_connection_and_publishes_at_once(bus: EventBus) -> None:
    seen: list[Any] = []

    @bus.subscribe("a", name="h")
    async def handle(event: Event, delivery: Delivery) -> None:
        seen.append((delivery.connection, (await bus.publish("b")).where))

    await bus.publish("a")
    await bus.drain(10)
    assert seen == [(None, "store")]


async def test_the_key_goes_on_in_order(shared_bus: EventBus, shared_dsn: str) -> None:
    seen: list[int] = []

    @shared_bus.subscribe("a", name="h", transactional=True, retry=RetryPolicy(base=0.01))
    async def handle(event: Event, delivery: Delivery) -> None:
        if event.payload % 5 == 0 and delivery.attempt == 1:
            raise Flaw
        seen.append(event.payload)

    async with shared_bus:
        for n in range(30):
            await shared_bus.publish("a", n, key="k")
        await shared_bus.drain(20)
    assert seen == list(range(30))
    assert await until(lambda: receipts(shared_dsn) == 30)
