"""Connections of the standard library's sqlite3, and of aiosqlite, which keeps one in a thread."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import NotInTransaction
from holdfast.transactions.caller import WHERE, Caller, closed, no_tables, unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import aiosqlite

    from holdfast.errors import HoldfastError
    from holdfast.transactions import Database

T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class SQLiteCaller(Caller):
    """`sqlite3.Connection`, in the thread that it belongs to."""

    def __init__(self, connection: sqlite3.Connection, _: Database) -> None:
        self._connection = connection

    def require_transaction(self) -> None:
        require_transaction(self._connection)

    def run_sync(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        return _run(self._connection, sql, parameters)

    def lend_sync(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return lent(self._connection, function)


class AiosqliteCaller(Caller):
    """`aiosqlite.Connection`."""

    is_async = True

    def __init__(self, connection: aiosqlite.Connection, _: Database) -> None:
        self._connection = connection

    def require_transaction(self) -> None:
        require_transaction(self._connection)

    async def run(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        rows: Rows = await within(self._connection, _run, sql, parameters)
        return rows

    async def lend(self, function: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await within(self._connection, lent, function)
        return result


async def within(connection: aiosqlite.Connection, function: Any, *arguments: Any) -> Any:
    """Call *function* with the connection of sqlite3 inside, in its thread: one hop for all that it does there.

    aiosqlite has no public name for this, and its own calls cannot see ``autocommit`` or leave out a row factory.
    """
    return await connection._execute(function, connection._conn, *arguments)  # type: ignore[no-untyped-call] # noqa: SLF001


def require_transaction(connection: sqlite3.Connection | aiosqlite.Connection) -> None:
    """Refuse a connection that is closed or commits each statement by itself. Sends nothing.

    Without an open transaction, ``isolation_level`` other than None is fine: an INSERT begins one.
    """
    try:
        is_open = connection.in_transaction
    except (sqlite3.ProgrammingError, ValueError) as error:  # aiosqlite raises ValueError
        raise closed() from error
    if is_open:
        return
    try:
        autocommit = getattr(connection, "autocommit", None)  # Python 3.12; True, False, or -1: see isolation_level
    except sqlite3.ProgrammingError as error:
        raise unusable(str(error)) from error
    if autocommit is True or (autocommit is not False and connection.isolation_level is None):
        raise NotInTransaction(
            "the connection given as tx= is in autocommit and has no open transaction: nothing was published; "
            "begin one (connection.execute('begin immediate')), or publish without tx="
        )


def lent(connection: sqlite3.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """What *function* makes of the connection; errors of the driver become errors of Holdfast."""
    require_transaction(connection)
    try:
        return function(connection)
    except sqlite3.Error as error:
        raise from_sqlite(error) from error


def _run(connection: sqlite3.Connection, sql: str, parameters: Mapping[str, str]) -> Rows:
    require_transaction(connection)
    try:
        # Closed also when it fails: kept alive by the error's traceback, it would keep the connection from closing.
        with closing(connection.cursor()) as cursor:
            cursor.row_factory = None  # whatever rows the caller likes, these are ours
            return cursor.execute(sql, parameters).fetchall()
    except sqlite3.Error as error:
        raise from_sqlite(error) from error


def from_sqlite(error: sqlite3.Error) -> HoldfastError:
    """The error of Holdfast that stands for *error*, by its result code."""
    from holdfast.stores.sqlite.errors import ERROR, result_code, translate  # the store of a bus that is in use

    code = result_code(error)
    if code is None:  # the module itself objects, as to another thread
        return unusable(str(error))
    # The general code: for a statement of ours it means that a table or column is not there.
    return no_tables(str(error)) if code == ERROR else translate(error, WHERE)
