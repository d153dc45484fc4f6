"""Connections and sessions of SQLAlchemy, with whatever driver is below.

The asynchronous ones run the same code: SQLAlchemy's own bridge lets a synchronous function wait for the driver.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError, UnboundExecutionError

from holdfast.errors import NotInTransaction, TransactionError
from holdfast.transactions import sqlite
from holdfast.transactions.caller import Caller, cause_in_postgres, closed, failed, from_postgres, unusable
from holdfast.transactions.placeholders import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    from holdfast.transactions import Database

T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class ConnectionCaller(Caller):
    """`sqlalchemy.Connection`."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection, self._database = connection, database

    def require_transaction(self) -> None:
        _require_connection(self._connection)

    def run_sync(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        return _run(self._connection, self._database, sql, parameters)

    def lend_sync(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return _lend(self._connection, self._database, function)


class AsyncConnectionCaller(Caller):
    """`sqlalchemy.ext.asyncio.AsyncConnection`."""

    is_async = True

    def __init__(self, connection: AsyncConnection, database: Database) -> None:
        self._connection, self._database = connection, database

    def require_transaction(self) -> None:
        if self._connection.sync_connection is None:  # never awaited or entered
            raise closed()
        _require_connection(self._connection.sync_connection)

    async def run(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        return await self._connection.run_sync(_run, self._database, sql, parameters)

    async def lend(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._connection.run_sync(_lend, self._database, function)


class SessionCaller(Caller):
    """`sqlalchemy.orm.Session`, also the current one of a `scoped_session`."""

    def __init__(self, session: Session | scoped_session[Session], database: Database) -> None:
        self._session: Session = session() if callable(session) else session
        self._database = database

    def require_transaction(self) -> None:
        _require_session(self._session)

    def run_sync(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        return _run(self._session, self._database, sql, parameters)

    def lend_sync(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return _lend(self._session, self._database, function)


class AsyncSessionCaller(Caller):
    """`sqlalchemy.ext.asyncio.AsyncSession`, also the current one of an `async_scoped_session`."""

    is_async = True

    def __init__(self, session: AsyncSession | async_scoped_session[AsyncSession], database: Database) -> None:
        self._session: AsyncSession = session() if callable(session) else session
        self._database = database

    def require_transaction(self) -> None:
        _require_session(self._session.sync_session)

    async def run(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        return await self._session.run_sync(_run, self._database, sql, parameters)

    async def lend(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._session.run_sync(_lend, self._database, function)


def _require_session(session: Session) -> None:
    if not session.is_active:
        raise failed("a flush in this session has failed")
    if not (session.autobegin or session.in_transaction()):
        raise NotInTransaction(
            "the session given as tx= has autobegin=False and no transaction: nothing was published; call its begin()"
        )


def _require_connection(connection: Connection) -> None:
    if connection.closed:
        raise closed()
    if connection.invalidated:
        raise failed("it has been invalidated")
    transaction = connection.get_nested_transaction() or connection.get_transaction()
    if transaction is not None and not transaction.is_active:
        raise failed("its transaction has ended or failed")


def _run(target: Session | Connection, database: Database, sql: str, parameters: Mapping[str, str]) -> Rows:
    with _connection_of(target, database) as connection:
        statement = render(sql, connection.dialect.paramstyle)
        # A server-side cursor, which the caller may have asked for, takes no writing statement.
        result = connection.exec_driver_sql(
            statement.text, statement.arguments(parameters), execution_options={"stream_results": False}
        )
        return [tuple(row) for row in result] if result.returns_rows else []


def _lend(target: Session | Connection, database: Database, function: Callable[[sqlite3.Connection], T]) -> T:
    with _connection_of(target, database) as connection:
        below: Any = connection.connection.dbapi_connection
        if not connection.dialect.is_async:
            return sqlite.lent(below, function)
        result: T = below.run_async(lambda driver: sqlite.within(driver, sqlite.lent, function))
        return result


@contextmanager
def _connection_of(target: Session | Connection, database: Database) -> Iterator[Connection]:
    """The connection of the target's transaction; errors inside become errors of Holdfast."""
    try:
        # Of a session, the connection of its current transaction, taken without a flush.
        connection = target if isinstance(target, Connection) else target.connection()
        _require_database(connection, database)
        _require_no_autocommit(connection)
        yield connection
    except DBAPIError as error:
        original = _from_below(error)
        if isinstance(original, sqlite3.Error):
            raise sqlite.from_sqlite(original) from original
        raise from_postgres(original) from cause_in_postgres(original)
    except UnboundExecutionError as error:
        raise unusable("the session has no engine for plain SQL: pass session.connection(...)") from error
    except InvalidRequestError as error:
        raise failed(error.args[0]) from error
    except SQLAlchemyError as error:
        raise unusable(str(error)) from error


def _require_database(connection: Connection, database: Database) -> None:
    if (found := connection.dialect.name) != database:
        raise TransactionError(
            f"the connection or session given as tx= leads to {found}, and this bus writes to {database}: "
            f"nothing was published; pass one to the bus's own database"
        )


def _require_no_autocommit(connection: Connection) -> None:
    """Ask the driver's connection: it knows, whether engine, connection or a listener of the pool has set it."""
    if connection.dialect.name == "sqlite":
        # As autobegin would do with the first statement: a listener may send BEGIN now.
        if not connection.in_transaction():
            connection.begin()
        below: Any = connection.connection.dbapi_connection
        if connection.dialect.is_async:
            below.run_async(lambda driver: sqlite.within(driver, sqlite.require_transaction))
        else:
            sqlite.require_transaction(below)
    elif getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
        raise NotInTransaction(
            "the connection or session given as tx= has the isolation level AUTOCOMMIT: nothing was published; "
            "use one with transactions, or publish without tx="
        )


def _from_below(error: DBAPIError) -> Exception:
    """The driver's own error: SQLAlchemy wraps it once, and that of asyncpg twice."""
    original: Any = error.orig or error
    wrapped_again: Any = type(original).__module__.startswith("sqlalchemy.") and original.__cause__
    found: Exception = wrapped_again or original
    return found
