"""``tx=``: an event that commits and rolls back with the caller's own writes, whatever library they use."""

from __future__ import annotations

import asyncio
import sqlite3
import warnings
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import aiosqlite
import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from holdfast import Event, EventBus
from holdfast.errors import (
    ConfigurationError,
    IdConflict,
    NotInTransaction,
    TransactionAborted,
    TransactionError,
    TransactionRequired,
    WrongStore,
)

from .waiting import path_of, sql, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def url(dsn: str, driver: str) -> str:
    scheme = "sqlite" if dsn.startswith("sqlite") else "postgresql"
    return dsn.replace(f"{scheme}:", f"{scheme}+{driver}:" if driver else f"{scheme}:", 1)


@asynccontextmanager
async def psycopg_async(dsn: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection, connection.execute, connection.commit, connection.rollback


@asynccontextmanager
async def psycopg_sync(dsn: str) -> AsyncIterator[Any]:
    with psycopg.connect(dsn) as connection:
        yield connection, connection.execute, connection.commit, connection.rollback


@asynccontextmanager
async def asyncpg_connection(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection, connection.execute, transaction.commit, transaction.rollback
    finally:
        await connection.close()


@asynccontextmanager
async def sqlite_sync(dsn: str) -> AsyncIterator[Any]:
    with closing(sqlite3.connect(path_of(dsn))) as connection:
        yield connection, connection.execute, connection.commit, connection.rollback


@asynccontextmanager
async def sqlite_async(dsn: str) -> AsyncIterator[Any]:
    async with aiosqlite.connect(path_of(dsn)) as connection:
        yield connection, connection.execute, connection.commit, connection.rollback


def execute_text(tx: Any, text: str) -> Any:
    return tx.execute(sqlalchemy.text(text))


def connection_of(engine: Any) -> Any:
    return engine.connect()


def alchemy(driver: str, kind: Callable[[Any], Any]) -> Callable[[str], Any]:
    @asynccontextmanager
    async def opened(dsn: str) -> AsyncIterator[Any]:
        engine = sqlalchemy.create_engine(url(dsn, driver))
        try:
            with kind(engine) as tx:
                yield tx, partial(execute_text, tx), tx.commit, tx.rollback
        finally:
            engine.dispose()

    return opened


def alchemy_async(driver: str, kind: Callable[[Any], Any]) -> Callable[[str], Any]:
    @asynccontextmanager
    async def opened(dsn: str) -> AsyncIterator[Any]:
        engine = create_async_engine(url(dsn, driver))
        try:
            async with kind(engine) as tx:
                yield tx, partial(execute_text, tx), tx.commit, tx.rollback
        finally:
            await engine.dispose()

    return opened


POSTGRES = {
    "psycopg.AsyncConnection": psycopg_async,
    "psycopg.Connection": psycopg_sync,
    "asyncpg.Connection": asyncpg_connection,
    "sqlalchemy.Session": alchemy("psycopg", Session),
    "sqlalchemy.Connection": alchemy("psycopg", connection_of),
    "sqlalchemy.AsyncSession psycopg": alchemy_async("psycopg", AsyncSession),
    "sqlalchemy.AsyncSession asyncpg": alchemy_async("asyncpg", AsyncSession),
    "sqlalchemy.AsyncConnection": alchemy_async("asyncpg", connection_of),
}
SQLITE = {
    "sqlite3.Connection": sqlite_sync,
    "aiosqlite.Connection": sqlite_async,
    "sqlalchemy.Session": alchemy("", Session),
    "sqlalchemy.Connection": alchemy("", connection_of),
    "sqlalchemy.AsyncSession": alchemy_async("aiosqlite", AsyncSession),
    "sqlalchemy.AsyncConnection": alchemy_async("aiosqlite", connection_of),
}


async def done(call: Any) -> None:
    if asyncio.iscoroutine(call) or hasattr(call, "__await__"):
        await call


@pytest.fixture(
    params=[("sqlite", kind) for kind in SQLITE] + [("postgresql", kind) for kind in POSTGRES],
    ids=lambda param: " ".join(param),
)
def place(request: pytest.FixtureRequest) -> tuple[str, Callable[[str], Any]]:
    """A DSN, and how to open one kind of connection to it."""
    store, kind = request.param
    if store == "sqlite":
        return request.getfixturevalue("sqlite_dsn"), SQLITE[kind]
    return request.getfixturevalue("emptied_dsn"), POSTGRES[kind]


class Begun(NamedTuple):
    """A caller's transaction in a database with a table of its own, and a bus with one subscription."""

    bus: EventBus
    dsn: str
    seen: list[Event]
    tx: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]


@pytest.fixture
async def begun(place: Any, make_bus: Callable[..., EventBus]) -> AsyncIterator[Begun]:
    dsn, opened = place
    bus, seen = make_bus(dsn), []
    bus.subscribe(["fact", "fact.**"], seen.append, name="h")
    await bus.publish("warm.up")
    make_table(dsn)
    async with opened(dsn) as (tx, execute, commit, rollback):
        yield Begun(bus, dsn, seen, tx, execute, commit, rollback)


def make_table(dsn: str) -> None:
    sql(dsn, "create table public.facts (n integer)" if "postgres" in dsn else "create table facts (n integer)")


async def test_it_commits_and_rolls_back_with_the_callers_writes(begun: Begun) -> None:
    await done(begun.execute("insert into facts values (1)"))
    published = await begun.bus.publish("fact.kept", {"n": 1}, tx=begun.tx, key="k", tenant_id="acme")
    assert (published.where, published.deduplicated) == ("store", False)
    assert "fact.kept" not in stored(begun.dsn)
    many = await begun.bus.publish_many([{"name": "fact.many", "payload": n} for n in range(3)], tx=begun.tx)
    assert len(many) == 3
    await done(begun.commit())
    await begun.bus.drain(10)
    assert [event.name for event in begun.seen].count("fact.many") == 3
    (kept,) = [event for event in begun.seen if event.name == "fact.kept"]
    assert (kept.id, kept.tenant_id, kept.key, kept.payload) == (published.event_id, "acme", "k", {"n": 1})
    assert sql(begun.dsn, "select n from facts") == [(1,)]


async def test_what_is_rolled_back_is_never_delivered(begun: Begun) -> None:
    await done(begun.execute("insert into facts values (1)"))
    await begun.bus.publish("fact.gone", tx=begun.tx)
    await begun.bus.publish_many([{"name": "fact.gone", "payload": None}] * 2, tx=begun.tx)
    await done(begun.rollback())
    await begun.bus.drain(10)
    assert begun.seen == []
    assert stored(begun.dsn) == ["warm.up"]
    assert sql(begun.dsn, "select n from facts") == []


async def test_a_savepoint_takes_its_events_back(begun: Begun) -> None:
    if "sqlalchemy" in type(begun.tx).__module__ and begun.dsn.startswith("sqlite"):
        pytest.skip("the driver begins too late for savepoints there, as SQLAlchemy documents")
    await done(begun.execute("insert into facts values (1)"))
    await begun.bus.publish("fact.before", tx=begun.tx)
    await done(begun.execute("savepoint mine"))
    await begun.bus.publish("fact.inside", tx=begun.tx)
    await done(begun.execute("rollback to savepoint mine"))
    await begun.bus.publish("fact.after", tx=begun.tx)
    await done(begun.commit())
    assert stored(begun.dsn) == ["warm.up", "fact.before", "fact.after"]


async def test_a_repeat_inside_is_the_same_event_and_other_content_a_conflict(begun: Begun) -> None:
    event_id = uuid4()
    await done(begun.execute("insert into facts values (1)"))
    assert not (await begun.bus.publish("fact", 1, event_id=event_id, tx=begun.tx)).deduplicated
    assert (await begun.bus.publish("fact", 1, event_id=event_id, tx=begun.tx)).deduplicated
    with pytest.raises(IdConflict) as refused:
        await begun.bus.publish("fact", 2, event_id=event_id, tx=begun.tx)
    assert refused.value.event_id == event_id
    await done(begun.commit())
    assert stored(begun.dsn) == ["warm.up", "fact"]


async def test_events_keep_the_order_of_the_calls(begun: Begun) -> None:
    await done(begun.execute("insert into facts values (1)"))
    for n in range(10):
        await begun.bus.publish("fact", n, tx=begun.tx, key="k")
    await begun.bus.publish_many([{"name": "fact", "payload": n, "key": "k"} for n in range(10, 20)], tx=begun.tx)
    await done(begun.commit())
    await begun.bus.drain(10)
    assert [event.payload for event in begun.seen] == list(range(20))


@pytest.mark.parametrize("warm", [True, False], ids=["tables", "nothing"])
async def test_the_first_use_of_a_bus_may_be_inside_a_transaction(
    place: Any, make_bus: Callable[..., EventBus], warm: bool
) -> None:
    """Nothing is registered yet, nor are there tables, and on SQLite the caller holds the only write lock."""
    dsn, opened = place
    if warm:
        await make_bus(dsn).publish("warm.up")
    make_table(dsn)
    bus, seen = make_bus(dsn), list[Event]()
    bus.subscribe("fact", seen.append, name="h")
    async with opened(dsn) as (tx, execute, _, rollback):
        await done(execute("insert into facts values (1)"))
        await bus.publish("fact", "gone", tx=tx)
        await done(rollback())
    async with opened(dsn) as (tx, execute, commit, _):
        await done(execute("insert into facts values (2)"))
        await bus.publish("fact", 1, tx=tx, key="k")
        await bus.publish("fact", 2, tx=tx, key="k")
        await done(commit())
    await bus.drain(10)
    assert [event.payload for event in seen] == [1, 2]
    assert sql(dsn, "select n from facts") == [(2,)]


async def test_a_first_use_that_is_rolled_back_leaves_nothing(
    sqlite_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus = make_bus(sqlite_dsn)
    bus.subscribe("fact", print, name="h")
    with closing(sqlite3.connect(path_of(sqlite_dsn))) as connection:
        connection.row_factory = sqlite3.Row
        await bus.publish("fact", tx=connection)
        assert connection.execute("select name from subscriptions").fetchone()["name"] == "h"
        connection.rollback()
        assert connection.execute("select * from sqlite_master").fetchall() == []


async def test_a_first_use_through_a_connection_to_another_file_writes_nothing(
    sqlite_dsn: str, make_bus: Callable[..., EventBus], tmp_path: Any
) -> None:
    for other in (tmp_path / "other.db", ":memory:"):
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("begin immediate")
            with pytest.raises(WrongStore, match="leads to"):
                await make_bus(sqlite_dsn).publish("fact", tx=connection)
            assert connection.execute("select * from sqlite_master").fetchall() == []


# ---- refused


async def test_autocommit_without_a_transaction_is_refused(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(shared_dsn)
    await bus.publish("warm.up")
    if shared_dsn.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(shared_dsn), isolation_level=None)) as connection:
            with pytest.raises(NotInTransaction):
                await bus.publish("a", tx=connection)
            connection.execute("begin")
            await bus.publish("b", tx=connection)
            connection.execute("commit")
    else:
        async with await psycopg.AsyncConnection.connect(shared_dsn, autocommit=True) as connection:
            with pytest.raises(NotInTransaction):
                await bus.publish("a", tx=connection)
            async with connection.transaction():
                await bus.publish("b", tx=connection)
        pg = await asyncpg.connect(shared_dsn)
        try:
            with pytest.raises(NotInTransaction):
                await bus.publish("a", tx=pg)
        finally:
            await pg.close()
    assert stored(shared_dsn) == ["warm.up", "b"]


async def test_a_closed_connection_is_refused(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(shared_dsn)
    await bus.publish("warm.up")
    connection: Any
    if shared_dsn.startswith("sqlite"):
        connection = sqlite3.connect(path_of(shared_dsn))
    else:
        connection = psycopg.connect(shared_dsn)
    connection.close()
    with pytest.raises(TransactionAborted, match="closed"):
        await bus.publish("a", tx=connection)
    assert stored(shared_dsn) == ["warm.up"]


async def test_a_failed_transaction_is_refused(emptied_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(emptied_dsn)
    await bus.publish("warm.up")
    async with await psycopg.AsyncConnection.connect(emptied_dsn) as connection:
        with pytest.raises(psycopg.Error):
            await connection.execute("select * from no_such_table")
        with pytest.raises(TransactionAborted):
            await bus.publish("a", tx=connection)
        await connection.rollback()
        await bus.publish("b", tx=connection)
    assert stored(emptied_dsn) == ["warm.up", "b"]


async def test_a_connection_to_another_store_is_refused(
    own_dsn: str, make_bus: Callable[..., EventBus], tmp_path: Any, postgres_server: str
) -> None:
    bus = make_bus(own_dsn)
    await bus.publish("warm.up")
    if own_dsn.startswith("sqlite"):
        empty, other = tmp_path / "empty.db", tmp_path / "other.db"
        await make_bus(f"sqlite:///{other}").publish("warm.up")
        for path in (empty, other):
            with closing(sqlite3.connect(path)) as connection, pytest.raises(WrongStore):
                await bus.publish("a", tx=connection)
        assert stored(f"sqlite:///{other}") == ["warm.up"]
    else:
        with psycopg.connect(postgres_server) as connection, pytest.raises(WrongStore):
            await bus.publish("a", tx=connection)
        schema = make_bus(own_dsn, schema="second")
        await schema.publish("warm.up")
        sql(own_dsn, "alter schema holdfast rename to hidden")
        sql(own_dsn, "alter schema second rename to holdfast")
        with psycopg.connect(own_dsn) as connection, pytest.raises(WrongStore):
            await bus.publish("a", tx=connection)
        sql(own_dsn, "alter schema holdfast rename to second")
        sql(own_dsn, "alter schema hidden rename to holdfast")
    assert stored(own_dsn) == ["warm.up"]


@pytest.mark.parametrize("tx", [5, "tx", object(), True, {}, sqlalchemy], ids=lambda tx: type(tx).__name__)
async def test_other_things_are_refused_with_what_would_do(bus: EventBus, tx: Any) -> None:
    with pytest.raises(TransactionError, match="accepted"):
        await bus.publish("a", tx=tx)
    with pytest.raises(TransactionError, match="accepted"):
        await bus.publish_many([{"name": "a", "payload": 1}], tx=tx)


async def test_a_connection_of_the_other_kind_of_database_is_refused(
    emptied_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, memory = make_bus(emptied_dsn), make_bus("sqlite://")
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(TransactionError):
        await bus.publish("a", tx=connection)
    with psycopg.connect(emptied_dsn) as other, pytest.raises(TransactionError):
        await memory.publish("a", tx=other)


async def test_an_engine_a_pool_or_a_cursor_says_what_to_pass(
    emptied_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus = make_bus(emptied_dsn)
    engine = sqlalchemy.create_engine(url(emptied_dsn, "psycopg"))
    with pytest.raises(TransactionError, match="connection or session made with it"):
        await bus.publish("a", tx=engine)
    engine.dispose()
    with (
        psycopg.connect(emptied_dsn) as connection,
        connection.cursor() as cursor,
        pytest.raises(TransactionError, match="cursor's connection"),
    ):
        await bus.publish("a", tx=cursor)


async def test_invalid_events_leave_the_callers_transaction_whole(begun: Begun) -> None:
    await done(begun.execute("insert into facts values (1)"))
    with pytest.raises(ValueError, match="name"):
        await begun.bus.publish("not a name", tx=begun.tx)
    with pytest.raises(ValueError, match="payload"):
        await begun.bus.publish_many([{"name": "a", "payload": 1}, {"name": "a", "payload": {1}}], tx=begun.tx)
    await begun.bus.publish("fact", tx=begun.tx)
    await done(begun.commit())
    assert stored(begun.dsn) == ["warm.up", "fact"]
    assert sql(begun.dsn, "select n from facts") == [(1,)]


# ---- require_tx


async def test_strict_requires_tx(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    await make_bus(shared_dsn).publish("warm.up")
    bus = make_bus(shared_dsn, require_tx="strict")
    for call in (bus.publish("a"), bus.publish("a", tx=None), bus.publish_many([{"name": "a", "payload": 1}])):
        with pytest.raises(TransactionRequired):
            await call
    if shared_dsn.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(shared_dsn))) as connection:
            await bus.publish("b", tx=connection)
            connection.commit()
    else:
        with psycopg.connect(shared_dsn) as other:
            await bus.publish("b", tx=other)
    assert stored(shared_dsn) == ["warm.up", "b"]


async def test_strict_allows_what_joins_a_handlers_transaction(
    bus: EventBus, make_bus: Callable[..., EventBus], sqlite_dsn: str
) -> None:
    strict = make_bus(sqlite_dsn, require_tx="strict")
    plain = make_bus(sqlite_dsn)
    seen: list[Event] = []
    strict.subscribe("b", seen.append, name="b")

    @strict.subscribe("a", name="a", transactional=True)
    async def handle(event: Event) -> None:
        await strict.publish("b")

    await strict.drain(5)
    await plain.publish("a")
    await strict.drain(10)
    assert len(seen) == 1


async def test_warn_warns_at_the_line_that_published(bus: EventBus, make_bus: Callable[..., EventBus]) -> None:
    warning_bus = make_bus("sqlite://", require_tx="warn")
    for call in (lambda: warning_bus.publish("a"), lambda: warning_bus.publish_many([{"name": "a", "payload": 1}])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            published = await call()
        assert published
        assert [str(one.message)[:22] for one in caught] == ["publishing without tx="]
        assert caught[0].filename == __file__


async def test_allow_is_the_default_and_other_values_are_refused() -> None:
    for value in ("", "never", None, 1, ["strict"]):
        with pytest.raises(ConfigurationError, match="require_tx"):
            EventBus("sqlite://", require_tx=value)  # type: ignore[arg-type]


async def test_a_first_use_inside_a_transaction_works_in_every_process_after_it(
    sqlite_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    """The file is not in write-ahead mode yet, as no transaction can switch it: that must hold nobody up."""
    path = path_of(sqlite_dsn)
    for number in range(3):
        bus = make_bus(sqlite_dsn)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("create table if not exists facts (n integer)")
            connection.execute("insert into facts values (1)")
            await asyncio.wait_for(bus.publish("fact", number, tx=connection), 2)
            connection.commit()
        await bus.close()
    assert stored(sqlite_dsn) == ["fact"] * 3
    await make_bus(sqlite_dsn).publish("fact", 3)
    assert sql(sqlite_dsn, "pragma journal_mode") == [("wal",)]


@pytest.mark.parametrize("statement", ["insert into facts values (1)", "select n from facts"])
async def test_a_file_that_cannot_be_switched_is_away_and_in_time(
    sqlite_dsn: str, make_bus: Callable[..., EventBus], tmp_path: Any, statement: str
) -> None:
    bus = make_bus(sqlite_dsn, store_timeout=0.3, spool=tmp_path / "spool")
    with closing(sqlite3.connect(path_of(sqlite_dsn))) as connection:
        connection.execute("create table facts (n integer)")
        connection.executemany("insert into facts values (?)", [(n,) for n in range(1000)])
        connection.commit()
        cursor = connection.execute(statement)
        cursor.fetchone()
        assert (await asyncio.wait_for(bus.publish("fact"), 5)).where == "spool"
        cursor.close()
        connection.rollback()
        await bus.drain(10)
    assert stored(sqlite_dsn) == ["fact"]
