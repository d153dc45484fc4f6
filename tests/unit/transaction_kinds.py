"""The kinds of connections and sessions that ``tx=`` takes, each driven by the same few verbs."""

from __future__ import annotations

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.ext.asyncio import create_async_engine as create_async
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast.transactions import adapt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The server tells its client what it executes: the one way to count statements that no driver can hide from.
TELL = "set client_min_messages = log; set log_statement = 'all'"


class Kind(ABC):
    """One kind of connection, open to the database of *dsn*. ``tx`` is what a caller passes."""

    tx: Any
    heard: list[str]
    """Statements as the database saw them, since `listen`."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.heard = []

    @abstractmethod
    async def connect(self, *, autocommit: bool = False) -> None: ...

    @abstractmethod
    async def execute(self, sql: str) -> None:
        """A statement of the caller's own."""

    @abstractmethod
    async def commit(self) -> None: ...

    @abstractmethod
    async def rollback(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def listen(self) -> None:
        """Begin to fill `heard`."""

    async def savepoint(self) -> None:
        await self.execute("savepoint mine")

    async def rollback_to_savepoint(self) -> None:
        await self.execute("rollback to savepoint mine")


class Synchronous(Kind):
    async def commit(self) -> None:
        self.tx.commit()

    async def rollback(self) -> None:
        self.tx.rollback()

    async def close(self) -> None:
        self.tx.close()


class Asynchronous(Kind):
    async def commit(self) -> None:
        await self.tx.commit()

    async def rollback(self) -> None:
        await self.tx.rollback()

    async def close(self) -> None:
        await self.tx.close()


class Psycopg(Synchronous):
    tx: psycopg.Connection[Any]

    async def connect(self, *, autocommit: bool = False) -> None:
        self.tx = psycopg.connect(self.dsn, autocommit=autocommit)

    async def execute(self, sql: str) -> None:
        self.tx.execute(sql)

    async def listen(self) -> None:
        await listen(self.tx, self.heard)
        self.tx.execute(TELL)


class AsyncPsycopg(Asynchronous):
    tx: psycopg.AsyncConnection[Any]

    async def connect(self, *, autocommit: bool = False) -> None:
        self.tx = await psycopg.AsyncConnection.connect(self.dsn, autocommit=autocommit)

    async def execute(self, sql: str) -> None:
        await self.tx.execute(sql)

    async def listen(self) -> None:
        await listen(self.tx, self.heard)
        await self.tx.execute(TELL)


class Psycopg2(Synchronous):
    async def connect(self, *, autocommit: bool = False) -> None:
        self.tx = psycopg2.connect(self.dsn)
        self.tx.autocommit = autocommit

    async def execute(self, sql: str) -> None:
        with self.tx.cursor() as cursor:
            cursor.execute(sql)

    async def listen(self) -> None:
        await listen(self.tx, self.heard)
        await self.execute(TELL)


class Asyncpg(Asynchronous):
    """Always in autocommit: the transaction is an object of its own."""

    async def connect(self, *, autocommit: bool = False) -> None:
        self.tx = await asyncpg.connect(self.dsn)
        await self.begin(autocommit=autocommit)

    async def begin(self, *, autocommit: bool) -> None:
        self._transaction = self.tx.transaction()
        if not autocommit:
            await self._transaction.start()

    async def execute(self, sql: str) -> None:
        await self.tx.execute(sql)

    async def commit(self) -> None:
        await self._transaction.commit()

    async def rollback(self) -> None:
        await self._transaction.rollback()

    async def listen(self) -> None:
        await listen(self.tx, self.heard)
        await self.tx.execute(TELL)


class AsyncpgPooled(Asyncpg):
    """Closed means given back."""

    _listeners: tuple[Any, ...] = ()

    async def connect(self, *, autocommit: bool = False) -> None:
        self._pool = await asyncpg.create_pool(self.dsn, min_size=1, max_size=1)
        self.tx = await self._pool.acquire()
        await self.begin(autocommit=autocommit)

    async def close(self) -> None:
        for listener in self._listeners:
            self.tx.remove_log_listener(listener)
        await self._pool.release(self.tx)
        await self._pool.close()

    async def listen(self) -> None:
        self._listeners = (await listen(self.tx, self.heard),)
        await self.tx.execute(TELL)


class SQLite(Synchronous):
    tx: sqlite3.Connection

    async def connect(self, *, autocommit: bool = False) -> None:
        self.tx = sqlite3.connect(path_of(self.dsn), isolation_level=None if autocommit else "")

    async def execute(self, sql: str) -> None:
        self.tx.execute(sql)

    async def listen(self) -> None:
        await listen(self.tx, self.heard)


class Aiosqlite(Asynchronous):
    tx: aiosqlite.Connection

    async def connect(self, *, autocommit: bool = False) -> None:
        self.tx = await aiosqlite.connect(path_of(self.dsn), isolation_level=None if autocommit else "")

    async def execute(self, sql: str) -> None:
        await (await self.tx.execute(sql)).close()

    async def listen(self) -> None:
        await listen(self.tx, self.heard)


class Alchemy(Synchronous):
    """A Connection or a Session, over the driver that ``scheme`` names."""

    scheme = ""

    async def connect(self, *, autocommit: bool = False) -> None:
        level: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
        self.engine = sqlalchemy.create_engine(url_of(self.dsn, self.scheme), **level)
        self.tx = self.open()

    def open(self) -> Any:
        return self.engine.connect()

    async def execute(self, sql: str) -> None:
        self.tx.execute(sqlalchemy.text(sql))

    async def close(self) -> None:
        self.tx.close()
        self.engine.dispose()

    async def savepoint(self) -> None:
        self._nested = self.tx.begin_nested()

    async def rollback_to_savepoint(self) -> None:
        self._nested.rollback()

    async def listen(self) -> None:
        connection = self.tx if isinstance(self.tx, sqlalchemy.Connection) else self.tx.connection()
        await listen(connection.connection.driver_connection, self.heard)
        if connection.dialect.name == "postgresql":
            for statement in TELL.split(";"):
                connection.exec_driver_sql(statement)


class AlchemySession(Alchemy):
    def open(self) -> Any:
        return Session(self.engine, close_resets_only=False)


class AlchemyScoped(Alchemy):
    def open(self) -> Any:
        return scoped_session(sessionmaker(self.engine, close_resets_only=False))


class AsyncAlchemy(Asynchronous):
    scheme = ""

    async def connect(self, *, autocommit: bool = False) -> None:
        level: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
        self.engine = create_async(url_of(self.dsn, self.scheme), **level)
        self.tx = await self.open()

    async def open(self) -> Any:
        return await self.engine.connect()

    async def execute(self, sql: str) -> None:
        await self.tx.execute(sqlalchemy.text(sql))

    async def close(self) -> None:
        await self.tx.close()
        await self.engine.dispose()

    async def savepoint(self) -> None:
        self._nested = await self.tx.begin_nested()

    async def rollback_to_savepoint(self) -> None:
        await self._nested.rollback()

    async def listen(self) -> None:
        connection: AsyncConnection = self.tx if isinstance(self.tx, AsyncConnection) else await self.tx.connection()
        await listen((await connection.get_raw_connection()).driver_connection, self.heard)
        if connection.dialect.name == "postgresql":
            for statement in TELL.split(";"):
                await connection.exec_driver_sql(statement)


class AsyncAlchemySession(AsyncAlchemy):
    async def open(self) -> Any:
        return AsyncSession(self.engine, close_resets_only=False)


class AsyncAlchemyScoped(AsyncAlchemy):
    async def open(self) -> Any:
        maker = async_sessionmaker(self.engine, close_resets_only=False)
        return async_scoped_session(maker, scopefunc=asyncio.current_task)


class _Notices:
    """Keeps what the server says about statements, and forgets the rest."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def append(self, message: str) -> None:
        if "statement: " in message or "execute " in message:
            self._heard.append(message)


async def listen(driver: Any, heard: list[str]) -> Any:
    """Put into *heard* what the database says that it runs for the connection of a *driver*; the callback, if any."""
    notices = _Notices(heard)
    match type(driver).__module__.partition(".")[0]:
        case "psycopg":
            driver.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        case "psycopg2":
            driver.notices = notices
        case "asyncpg":
            listener = lambda _, message: notices.append(message.message)  # noqa: E731
            driver.add_log_listener(listener)
            return listener
        case "sqlite3":
            driver.set_trace_callback(heard.append)
        case "aiosqlite":
            await driver.set_trace_callback(heard.append)
    return None


def over(kind: type[Any], scheme: str) -> type[Kind]:
    """*kind* with a driver."""
    return type(f"{kind.__name__}_{scheme}", (kind,), {"scheme": scheme})


POSTGRES: list[type[Kind]] = [
    Psycopg, AsyncPsycopg, Psycopg2, Asyncpg, AsyncpgPooled,
    over(Alchemy, "postgresql+psycopg"), over(Alchemy, "postgresql+psycopg2"),
    over(AlchemySession, "postgresql+psycopg"), over(AlchemySession, "postgresql+psycopg2"),
    over(AlchemyScoped, "postgresql+psycopg"),
    over(AsyncAlchemy, "postgresql+psycopg"), over(AsyncAlchemy, "postgresql+asyncpg"),
    over(AsyncAlchemySession, "postgresql+psycopg"), over(AsyncAlchemySession, "postgresql+asyncpg"),
    over(AsyncAlchemyScoped, "postgresql+asyncpg"),
]  # fmt: skip
SQLITE: list[type[Kind]] = [
    SQLite, Aiosqlite,
    over(Alchemy, "sqlite"), over(AlchemySession, "sqlite"), over(AlchemyScoped, "sqlite"),
    over(AsyncAlchemy, "sqlite+aiosqlite"), over(AsyncAlchemySession, "sqlite+aiosqlite"),
    over(AsyncAlchemyScoped, "sqlite+aiosqlite"),
]  # fmt: skip


def url_of(dsn: str, scheme: str) -> str:
    return f"{scheme}:{dsn.partition(':')[2]}"


def path_of(dsn: str) -> str:
    return dsn.removeprefix("sqlite:///")


TABLE = "create table facts (body text check (body <> 'refused'))"
# Everything that a rendering could trip over: a cast, a colon and a percent sign in a literal, a comment, a repetition.
STORE = {
    "postgresql": """
        -- A comment with a :colon and 100 %.
        with stored as (
            insert into facts (body) select cast(:body as text)::text where cast(:body as text) <> 'a :colon, 5 %'
            returning body)
        select body::text, true from stored""",
    "sqlite": """
        -- A comment with a :colon and 100 %.
        insert into facts (body) select :body where :body <> 'a :colon, 5 %' returning cast(body as blob), 1""",
}


@asynccontextmanager
async def connected(kind: type[Kind], dsn: str, **options: Any) -> AsyncIterator[Kind]:
    one = kind(dsn)
    await one.connect(**options)
    try:
        yield one
    finally:
        await one.close()


def query(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """What somebody else, who commits at once, sees."""
    if dsn.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(dsn), isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def bodies(dsn: str) -> list[str]:
    return [body for (body,) in query(dsn, "select body from facts order by body")]


async def store(tx: Any, database: Any, body: str) -> Any:
    """What a store does with ``tx=``."""
    caller = adapt(tx, database)
    caller.require_transaction()
    run = {"body": body}
    return await caller.run(STORE[database], run) if caller.is_async else caller.run_sync(STORE[database], run)
