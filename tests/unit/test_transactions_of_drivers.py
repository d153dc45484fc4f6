"""``tx=``: what is particular to a driver: its rows and types, its pipelines, sessions and threads."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from holdfast.errors import (
    NotInTransaction,
    StoreBusy,
    StoreUnavailable,
    TransactionAborted,
    TransactionError,
)
from holdfast.transactions import adapt

from .transaction_kinds import STORE, TABLE, bodies, path_of, query, store, url_of

# psycopg


class Shouting(TextLoader):
    def load(self, data):
        return str(super().load(data)).upper()


async def test_the_callers_rows_cursors_and_types_do_not_matter(postgres_dsn):
    query(postgres_dsn, TABLE)
    with psycopg.connect(postgres_dsn, row_factory=dict_row, cursor_factory=psycopg.RawCursor) as connection:
        connection.adapters.register_loader("text", Shouting)
        assert await store(connection, "postgresql", "x") == [("x", True)]
    with closing(psycopg2.connect(postgres_dsn, cursor_factory=psycopg2.extras.RealDictCursor)) as connection:
        assert await store(connection, "postgresql", "x") == [("x", True)]


@pytest.mark.parametrize("autocommit", [False, True])
async def test_inside_a_pipeline_with_a_transaction(postgres_dsn, autocommit):
    query(postgres_dsn, TABLE)
    async with (
        await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=autocommit) as connection,
        connection.pipeline(),
        connection.transaction(),
    ):
        await connection.execute("insert into facts values ('own')")
        assert await store(connection, "postgresql", "x") == [("x", True)]
        assert bodies(postgres_dsn) == []
    with psycopg.connect(postgres_dsn, autocommit=autocommit) as sync, sync.pipeline(), sync.transaction():
        sync.execute("insert into facts values ('own')")
        assert await store(sync, "postgresql", "y") == [("y", True)]
    assert bodies(postgres_dsn) == ["own", "own", "x", "y"]


async def test_inside_a_pipeline_autocommit_is_refused(postgres_dsn):
    query(postgres_dsn, TABLE)
    async with (
        await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection,
        connection.pipeline(),
    ):
        await connection.execute("insert into facts values ('own')")
        with pytest.raises(NotInTransaction):
            await store(connection, "postgresql", "x")
    with psycopg.connect(postgres_dsn, autocommit=True) as sync, sync.pipeline():
        sync.execute("insert into facts values ('own')")
        with pytest.raises(NotInTransaction):
            await store(sync, "postgresql", "x")
    assert bodies(postgres_dsn) == ["own", "own"]


async def test_a_transaction_in_autocommit_is_one(postgres_dsn):
    query(postgres_dsn, TABLE)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        with connection.transaction(force_rollback=True):
            await store(connection, "postgresql", "x")
        assert bodies(postgres_dsn) == []


async def test_a_session_that_the_server_ended_is_away(postgres_dsn):
    query(postgres_dsn, TABLE)
    connections = [
        psycopg.connect(postgres_dsn), psycopg2.connect(postgres_dsn), await asyncpg.connect(postgres_dsn)
    ]  # fmt: skip
    await connections[2].execute("begin")
    query(postgres_dsn, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid <> pg_backend_pid() "
                        "and datname = current_database()")  # fmt: skip
    for connection in connections:
        with pytest.raises((StoreUnavailable, TransactionAborted)):
            await store(connection, "postgresql", "x")
        with pytest.raises(TransactionAborted):
            await store(connection, "postgresql", "x")
        if connection is not connections[2]:
            connection.close()


# SQLAlchemy


class Base(DeclarativeBase):
    pass


class Fact(Base):
    __tablename__ = "facts"
    body: Mapped[str] = mapped_column(primary_key=True)


class SubclassedSession(Session):
    """As SQLModel has one."""


@pytest.fixture
def engine(sqlite_dsn):
    query(sqlite_dsn, TABLE)
    engine = sqlalchemy.create_engine(sqlite_dsn)
    yield engine
    engine.dispose()


async def test_pending_objects_are_not_flushed(engine, sqlite_dsn):
    with SubclassedSession(engine) as session:
        session.add(fact := Fact(body="own"))
        await store(session, "sqlite", "x")
        assert fact in session.new
        session.commit()
    assert bodies(sqlite_dsn) == ["own", "x"]


async def test_after_a_failed_flush_a_session_is_refused(engine, sqlite_dsn):
    with Session(engine) as session:
        session.add(Fact(body="refused"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.flush()
        with pytest.raises(TransactionAborted, match="flush"):
            await store(session, "sqlite", "x")
        session.rollback()
        await store(session, "sqlite", "y")
        session.commit()
    assert bodies(sqlite_dsn) == ["y"]


async def test_a_session_without_autobegin_needs_its_begin(engine, sqlite_dsn):
    with Session(engine, autobegin=False) as session:
        with pytest.raises(NotInTransaction, match="begin"):
            await store(session, "sqlite", "x")
        with session.begin():
            await store(session, "sqlite", "x")
    assert bodies(sqlite_dsn) == ["x"]


async def test_a_session_bound_by_class_is_asked_for_a_connection(engine):
    with Session(binds={Fact: engine}) as session:
        with pytest.raises(TransactionError, match=r"session.connection\(\.\.\.\)"):
            await store(session, "sqlite", "x")
        await store(session.connection(bind_arguments={"mapper": Fact}), "sqlite", "x")


async def test_an_invalidated_connection_is_refused(engine):
    with engine.connect() as connection:
        connection.begin()
        connection.invalidate()
        with pytest.raises(TransactionAborted, match="invalidated"):
            await store(connection, "sqlite", "x")


async def test_an_asynchronous_connection_never_opened_is_refused(sqlite_dsn):
    engine = create_async_engine(url_of(sqlite_dsn, "sqlite+aiosqlite"))
    with pytest.raises(TransactionAborted):
        await store(engine.connect(), "sqlite", "x")


@pytest.mark.parametrize("paramstyle", ["qmark", "named"])
async def test_begin_sent_by_a_listener_is_a_transaction(sqlite_dsn, paramstyle):
    """The recipe of SQLAlchemy's manual: the driver in autocommit, BEGIN sent when a transaction begins."""
    query(sqlite_dsn, TABLE)
    engine = sqlalchemy.create_engine(sqlite_dsn, paramstyle=paramstyle)
    sqlalchemy.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("begin immediate"))
    for kind in (engine.connect, lambda: Session(engine)):
        with kind() as one:
            await store(one, "sqlite", "x")
            one.rollback()
        with kind() as one:
            await store(one, "sqlite", "x")
            one.commit()
    engine.dispose()
    assert bodies(sqlite_dsn) == ["x", "x"]


async def test_server_side_cursors_do_not_matter(postgres_dsn):
    query(postgres_dsn, TABLE)
    for driver in ("psycopg", "psycopg2"):
        engine = sqlalchemy.create_engine(url_of(postgres_dsn, f"postgresql+{driver}"))
        with engine.connect().execution_options(stream_results=True) as connection:
            assert await store(connection, "postgresql", "x") == [("x", True)]
        engine.dispose()
    engine = create_async_engine(url_of(postgres_dsn, "postgresql+asyncpg"), execution_options={"stream_results": True})
    async with AsyncSession(engine) as session:
        assert await store(session, "postgresql", "x") == [("x", True)]
    await engine.dispose()


# SQLite


async def test_rows_of_another_shape_do_not_matter(sqlite_dsn):
    query(sqlite_dsn, TABLE)
    with closing(sqlite3.connect(path_of(sqlite_dsn))) as connection:
        connection.row_factory, connection.text_factory = lambda *_: "a row", lambda _: "a text"
        assert await store(connection, "sqlite", "x") == [(b"x", 1)]
    async with aiosqlite.connect(path_of(sqlite_dsn)) as connection:
        connection.row_factory = lambda *_: "a row"
        assert await store(connection, "sqlite", "x") == [(b"x", 1)]


async def test_a_begin_of_the_callers_is_a_transaction(sqlite_dsn):
    query(sqlite_dsn, TABLE)
    with closing(sqlite3.connect(path_of(sqlite_dsn), isolation_level=None)) as connection:
        connection.execute("begin")
        await store(connection, "sqlite", "x")
        connection.rollback()
    assert bodies(sqlite_dsn) == []


@pytest.mark.parametrize("attribute", [True, False])
@pytest.mark.skipif(not hasattr(sqlite3.Connection, "autocommit"), reason="since Python 3.12")
async def test_the_attribute_autocommit_decides(sqlite_dsn, attribute):
    query(sqlite_dsn, TABLE)
    url = url_of(sqlite_dsn, "sqlite+aiosqlite")
    alchemy = create_async_engine(url, connect_args={"autocommit": attribute})
    with closing(sqlite3.connect(path_of(sqlite_dsn), autocommit=attribute)) as plain:
        async with (
            aiosqlite.connect(path_of(sqlite_dsn), autocommit=attribute) as hopping,
            AsyncSession(alchemy) as orm,
        ):
            for connection in (plain, hopping, orm):
                if attribute:
                    with pytest.raises(NotInTransaction):
                        await store(connection, "sqlite", "x")
                else:
                    assert len(await store(connection, "sqlite", "x")) == 1
                    rolled_back = connection.rollback()
                    if rolled_back is not None:
                        await rolled_back
    await alchemy.dispose()
    assert bodies(sqlite_dsn) == []


async def test_a_transaction_that_read_before_another_wrote_is_busy(sqlite_dsn):
    query(sqlite_dsn, TABLE)
    query(sqlite_dsn, "pragma journal_mode = wal")
    with closing(sqlite3.connect(path_of(sqlite_dsn), timeout=0)) as connection:
        connection.execute("begin")
        connection.execute("select * from facts").fetchall()
        query(sqlite_dsn, "insert into facts values ('rival')")
        with pytest.raises(StoreBusy) as caught:
            await store(connection, "sqlite", "x")
        assert caught.value.code == "SQLITE_BUSY_SNAPSHOT"


def test_another_thread_is_refused(sqlite_dsn):
    query(sqlite_dsn, TABLE)
    errors: list[BaseException] = []

    def publish(connection: sqlite3.Connection) -> None:
        try:
            adapt(connection, "sqlite").run_sync(STORE["sqlite"], {"body": "x"})
        except TransactionError as error:
            errors.append(error)

    with closing(sqlite3.connect(path_of(sqlite_dsn))) as connection:
        thread = threading.Thread(target=publish, args=[connection])
        thread.start()
        thread.join()
    assert "thread" in str(errors[0])
