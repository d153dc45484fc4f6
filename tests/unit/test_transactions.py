"""``tx=``: a statement that lives and dies with the caller's own transaction, for every kind that is accepted."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg
import pytest
import sqlalchemy
from psycopg_pool import ConnectionPool
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from holdfast.errors import (
    InvalidEvent,
    NotInTransaction,
    PermissionDenied,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    TransactionAborted,
    TransactionError,
    WrongStore,
)
from holdfast.stores.sqlstate import from_sqlstate
from holdfast.transactions import adapt
from holdfast.transactions.placeholders import render

from .transaction_kinds import POSTGRES, SQLITE, STORE, TABLE, Kind, bodies, connected, path_of, query, store, url_of

DATABASES = [*[("postgresql", kind) for kind in POSTGRES], *[("sqlite", kind) for kind in SQLITE]]


@pytest.fixture(params=DATABASES, ids=[f"{kind.__name__}" for _, kind in DATABASES])
def place(request) -> tuple[str, type[Kind], str]:
    """A kind of connection, and a database with the table."""
    database, kind = request.param
    dsn = request.getfixturevalue("postgres_dsn" if database == "postgresql" else "sqlite_dsn")
    query(dsn, TABLE)
    return database, kind, dsn


async def test_a_commit_makes_the_row_visible_and_nothing_before(place):
    database, kind, dsn = place
    async with connected(kind, dsn) as one:
        rows = await store(one.tx, database, "x")
        assert bodies(dsn) == []
        await one.commit()
    assert rows == [("x", True) if database == "postgresql" else (b"x", 1)]
    assert bodies(dsn) == ["x"]


async def test_a_rollback_takes_the_row_back(place):
    database, kind, dsn = place
    async with connected(kind, dsn) as one:
        await one.execute("insert into facts values ('own')")
        await store(one.tx, database, "x")
        await one.rollback()
    assert bodies(dsn) == []


async def test_a_savepoint_takes_back_what_came_after_it(place):
    database, kind, dsn = place
    async with connected(kind, dsn) as one:
        await store(one.tx, database, "before")
        await one.savepoint()
        await store(one.tx, database, "within")
        await one.rollback_to_savepoint()
        await store(one.tx, database, "after")
        await one.commit()
    assert bodies(dsn) == ["after", "before"]


async def test_it_is_one_statement(place):
    database, kind, dsn = place
    async with connected(kind, dsn) as one:
        await one.execute("insert into facts values ('own')")
        await one.listen()
        await one.execute("select 'heard'")
        assert any("heard" in statement for statement in one.heard)
        one.heard.clear()
        await store(one.tx, database, "x")
        assert len(one.heard) == 1, one.heard
        assert "insert into facts" in one.heard[0]
        await one.rollback()


async def test_autocommit_is_refused(place):
    database, kind, dsn = place
    async with connected(kind, dsn, autocommit=True) as one:
        with pytest.raises(NotInTransaction, match="nothing was published"):
            await store(one.tx, database, "x")
    assert bodies(dsn) == []


async def test_a_closed_one_is_refused(place):
    database, kind, dsn = place
    async with connected(kind, dsn) as one:
        tx = one.tx
        await store(tx, database, "x")
    with pytest.raises(TransactionAborted):
        await store(tx, database, "y")


@pytest.mark.parametrize("kind", POSTGRES)
async def test_a_failed_transaction_is_refused(postgres_dsn, kind):
    """Of PostgreSQL: on SQLite a statement that fails leaves the transaction as it was."""
    async with connected(kind, postgres_dsn) as one:
        with pytest.raises(Exception, match="division by zero"):
            await one.execute("select 1/0")
        with pytest.raises(TransactionAborted, match="roll back"):
            await store(one.tx, "postgresql", "x")
        await one.rollback()


async def test_without_the_tables_it_is_the_wrong_store(place):
    database, kind, dsn = place
    query(dsn, "drop table facts")
    async with connected(kind, dsn) as one:
        with pytest.raises(WrongStore, match="facts") as caught:
            await store(one.tx, database, "x")
        await one.rollback()
    assert not type(caught.value.__cause__).__module__.startswith("sqlalchemy")


async def test_a_refused_value_is_invalid_and_not_told(place):
    database, kind, dsn = place
    async with connected(kind, dsn) as one:
        with pytest.raises(InvalidEvent) as caught:
            await store(one.tx, database, "refused")
        await one.rollback()
    assert "refused)" not in str(caught.value)


async def test_the_other_database_is_refused(place):
    database, kind, dsn = place
    other = "sqlite" if database == "postgresql" else "postgresql"
    async with connected(kind, dsn) as one:
        with pytest.raises(TransactionError, match=f"this bus writes to {other}"):
            await store(one.tx, other, "x")


async def test_an_asynchronous_one_is_refused_where_nothing_can_wait(place):
    database, kind, dsn = place
    async with connected(kind, dsn) as one:
        caller = adapt(one.tx, database)
        if caller.is_async:
            with pytest.raises(TransactionError, match="synchronous publish"):
                caller.run_sync(STORE[database], {"body": "x"})
        else:
            assert len(await caller.run(STORE[database], {"body": "x"})) == 1


# What is given by mistake


def test_whatever_is_no_connection_is_refused_with_what_to_pass(postgres_dsn, sqlite_dsn):
    engine = sqlalchemy.create_engine(url_of(postgres_dsn, "postgresql+psycopg"))
    with (
        psycopg.connect(postgres_dsn) as connection,
        connection.cursor("named") as named,
        closing(sqlite3.connect(path_of(sqlite_dsn))) as file,
    ):
        mistakes = [
            (connection.cursor(), "cursor's connection"),
            (named, "cursor's connection"),
            (file.cursor(), "cursor's connection"),
            (ConnectionPool(postgres_dsn, open=False), "take a connection from it"),
            (engine, "made with it"),
            (create_async_engine(url_of(postgres_dsn, "postgresql+asyncpg")), "made with it"),
            (sessionmaker(engine), "call it"),
            (async_sessionmaker(), "call it"),
            (True, "of type builtins.bool"),
            (postgres_dsn, "accepted: psycopg.Connection, psycopg.AsyncConnection, asyncpg.Connection"),
        ]
        for mistake, advice in mistakes:
            with pytest.raises(TransactionError, match=advice):
                adapt(mistake, "postgresql")
    with pytest.raises(TransactionError, match=r"accepted: sqlite3.Connection, aiosqlite.Connection, sqlalchemy"):
        adapt(None, "sqlite")


def test_subclasses_and_proxies_are_known(sqlite_dsn):
    class Mine(sqlite3.Connection):
        pass

    class Traced:
        """As tracing tools make them: the type differs, the class is told to be the same."""

        def __init__(self, inner):
            self._inner = inner

        @property
        def __class__(self):
            return type(self._inner)

        def __getattr__(self, name):
            return getattr(self._inner, name)

    query(sqlite_dsn, TABLE)
    with closing(sqlite3.connect(path_of(sqlite_dsn), factory=Mine)) as connection:
        assert adapt(Traced(connection), "sqlite").run_sync(STORE["sqlite"], {"body": "x"}) == [(b"x", 1)]


# Placeholders and codes


@pytest.mark.parametrize(
    ("style", "text", "order"),
    [
        ("pyformat", "%(b)s '%%:x' \"a:y\" 1::int %(a)s /* :z */ %(b)s -- :c", None),
        ("named", ":b '%:x' \"a:y\" 1::int :a /* :z */ :b -- :c", None),
        ("format", "%s '%%:x' \"a:y\" 1::int %s /* :z */ %s -- :c", ("b", "a", "b")),
        ("qmark", "? '%:x' \"a:y\" 1::int ? /* :z */ ? -- :c", ("b", "a", "b")),
        ("numeric_dollar", "$1 '%:x' \"a:y\" 1::int $2 /* :z */ $1 -- :c", ("b", "a")),
    ],
)
def test_placeholders_are_those_of_the_driver(style, text, order):
    rendered = render(":b '%:x' \"a:y\" 1::int :a /* :z */ :b -- :c", style)
    assert rendered == (text, order)
    parameters = {"a": "1", "b": "2"}
    assert rendered.arguments(parameters) == (parameters if order is None else tuple(parameters[n] for n in order))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("40001", StoreBusy), ("55P03", StoreBusy), ("08006", StoreUnavailable), ("53300", StoreUnavailable),
        ("25006", StoreUnavailable), (None, StoreUnavailable), ("42501", PermissionDenied), ("22P05", InvalidEvent),
        ("23514", InvalidEvent), ("42601", StoreError),
    ],
)  # fmt: skip
def test_codes_decide(code, kind):
    error = from_sqlstate(code, "text", "here")
    assert type(error) is kind
    assert "here" in str(error)
    assert code is None or code in str(error)
