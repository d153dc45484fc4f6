"""One connection with a role of its own: made when first needed, bounded in time, made again after a failure."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int4BinaryLoader, Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

from holdfast.errors import ConfigurationError, StoreUnavailable
from holdfast.stores.postgres.arrays import BinaryArray, BinaryArrayDumper
from holdfast.stores.postgres.errors import first_line, translated
from holdfast.stores.postgres.pipelines import pipelined
from holdfast.stores.postgres.pooler import mind_pooler
from holdfast.stores.postgres.refusal import is_for_good

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

# A host that vanishes between begin and commit must not hold its locks until the server's keep-alive ends.
_BEGIN = (
    "begin isolation level read committed read write; set local row_security = off; "
    "set local idle_in_transaction_session_timeout = '15s'"
)

KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
}  # fmt: skip
"""How soon the kernel notices that the other end has vanished."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Statement = tuple[str, "Mapping[str, Any]"]


def adapt_raw(connection: psycopg.AsyncConnection[Any]) -> None:
    """Load what the engine does not look at as raw bytes or plain numbers: nothing is decoded on the way."""
    adapters = connection.adapters
    adapters.register_loader("uuid", ByteaBinaryLoader)
    adapters.register_loader("json", ByteaBinaryLoader)
    adapters.register_loader("timestamptz", Int8BinaryLoader)  # microseconds since 2000-01-01 UTC
    adapters.register_loader("date", Int4BinaryLoader)  # days since 2000-01-01
    adapters.register_dumper(BinaryArray, BinaryArrayDumper)


def cut(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """End a connection that does not answer: whoever waits on it, in any thread, gets an error at once.

    Cancelling the wait instead would first ask the server to cancel, and wait for that.
    """
    with suppress(OSError, psycopg.Error):
        twin = socket.socket(fileno=os.dup(connection.fileno()))
        try:
            twin.shutdown(socket.SHUT_RDWR)
        finally:
            twin.close()


async def meet(
    connection: psycopg.AsyncConnection[Any], seconds: float, *, plans_once: bool = False, compiles: bool = True
) -> None:
    """
    `mind_pooler`, with a bound; nothing is left of a connection that fails at it.

    Args:
        connection: A new one.
        seconds: The bound.
        plans_once: Each statement is planned when it is first run, for any parameters. The server would plan it ten
            times before it trusts such a plan, which for a page of the log takes longer than the page.
        compiles: Whether the server may compile just in time what it thinks dear. Where the log has many days or many
            events it thinks so of most that we ask, which takes less time than its compilation: a worker that starts
            would wait more than a second for it.
    """
    deadline = asyncio.get_running_loop().call_later(seconds, cut, connection)
    try:
        await mind_pooler(connection)
        if plans_once and connection.prepare_threshold is not None:
            connection.prepare_threshold = 0
            await connection.execute("set plan_cache_mode to force_generic_plan")
        if not compiles and connection.prepare_threshold is not None:
            await connection.execute("set jit to off")
    except BaseException:
        connection.pgconn.finish()
        raise
    finally:
        deadline.cancel()


@dataclass(slots=True)
class Acquaintance:
    """Whether a server has ever let this store in: then a refusal passes, as when it has no connection left."""

    is_made: bool = False


class Session:
    """A connection used by one caller at a time.

    Args:
        conninfo: Connection string.
        where: What messages call the store; without a password.
        timeout: Seconds for connecting and for each call; a call that takes longer loses its connection.
        name: Shown as ``application_name``.
        acquaintance: Common to all sessions of a store.
        plans_once: For few statements, run often: see `meet`.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        where: str,
        timeout: float,
        name: str,
        acquaintance: Acquaintance,
        plans_once: bool = False,
    ) -> None:
        self._conninfo, self._where, self._timeout, self._name = conninfo, where, timeout, name
        self._acquaintance, self._plans_once = acquaintance, plans_once
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement in autocommit; returns its rows, none for a statement without."""
        async with self._use() as connection:
            cursor = await connection.execute(sql, parameters, binary=True)
            return await rows_of(cursor)

    async def count(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Run one statement in autocommit; returns the number of rows that it wrote."""
        async with self._use() as connection:
            return (await connection.execute(sql, parameters, binary=True)).rowcount

    async def run_many(self, statements: list[Statement]) -> list[list[tuple[Any, ...]]]:
        """Run the statements one after the other, without a transaction, in one round trip."""
        async with self._use() as connection:
            async with pipelined(connection):
                cursors = [await connection.execute(sql, parameters, binary=True) for sql, parameters in statements]
            return [await rows_of(cursor) for cursor in cursors]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A READ COMMITTED transaction with row security off, whatever the defaults of role and database say."""
        async with self._use() as connection:
            await connection.execute(_BEGIN, prepare=False)  # several statements in one
            try:
                yield connection
            except BaseException:
                if not connection.closed:
                    with suppress(psycopg.Error):
                        await connection.execute("rollback", prepare=False)
                raise
            await connection.execute("commit", prepare=False)

    @asynccontextmanager
    async def _use(self) -> AsyncIterator[Connection]:
        async with self._lock:
            connection = self._connection
            if connection is None or connection.closed:
                connection = self._connection = await self.connect()
            deadline = asyncio.get_running_loop().call_later(self._timeout, cut, connection)
            try:
                with translated(self._where):
                    yield connection
            except BaseException as error:
                # Cancelled in mid-call, or its COMMIT or ROLLBACK was refused: nobody knows what comes next on it.
                if not isinstance(error, Exception) or connection.info.transaction_status != TransactionStatus.IDLE:
                    connection.pgconn.finish()
                if connection.closed:
                    self._connection = None
                raise
            finally:
                deadline.cancel()

    async def connect(self) -> Connection:
        """
        A new connection, in autocommit, with the raw loaders.

        Raises:
            ConfigurationError: The store's first connection was refused for what we are: wrong user, password or
                database. Later the same refusal counts as being away.
            StoreUnavailable
        """
        try:
            async with asyncio.timeout(self._timeout):
                connection: Connection = await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, row_factory=tuple_row, application_name=self._name,
                    connect_timeout=max(2, int(self._timeout)), **KEEPALIVE,
                )  # fmt: skip
        except TimeoutError as error:
            raise StoreUnavailable(f"{self._where} did not answer within {self._timeout:g} s") from error
        except psycopg.Error as error:
            if (
                not self._acquaintance.is_made
                and error.pgconn
                and await is_for_good(error.pgconn, min(self._timeout, 2.0))
            ):
                name = error.pgconn.db.decode()
                if await asyncio.to_thread(self._is_missing, name):
                    raise ConfigurationError(
                        f"{self._where} cannot be used: there is no such database; make it with  createdb {name}"
                    ) from error
                raise ConfigurationError(f"{self._where} refuses this connection: {first_line(error)}") from error
            raise StoreUnavailable(f"{self._where} cannot be reached: {first_line(error)}", error.sqlstate) from error
        self._acquaintance.is_made = True
        adapt_raw(connection)
        with translated(self._where):
            await meet(connection, self._timeout, plans_once=self._plans_once, compiles=False)
        return connection

    def _is_missing(self, database: str) -> bool:
        """Asked of the server's own database: a refusal after a password has no code that would tell."""
        try:
            with psycopg.connect(self._conninfo, dbname="postgres", connect_timeout=2) as connection:
                known = connection.execute("select from pg_database where datname = %s", [database])
                return known.fetchone() is None
        except psycopg.Error:
            return False

    async def close(self) -> None:
        if (connection := self._connection) is not None:
            self._connection = None
            await connection.close()

    def abandon(self) -> None:
        """Close without waiting, where no loop can wait any more."""
        if (connection := self._connection) is not None:
            self._connection = None
            connection.pgconn.finish()


async def rows_of(cursor: psycopg.AsyncCursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """None where its statement gives none: `description` would say so, too, after making an object of each column."""
    result = cursor.pgresult
    return await cursor.fetchall() if result is not None and result.nfields else []


def fence_parameters(epochs: Mapping[Any, int]) -> dict[str, Any]:
    """The three arrays by which statements name leases with their epochs, in key order."""
    ordered = sorted(epochs.items())
    return {
        "subscriptions": [one.subscription for one, _ in ordered],
        "partitions": [one.partition for one, _ in ordered],
        "epochs": [epoch for _, epoch in ordered],
    }


def slice_parameters(slices: Any) -> dict[str, list[int]]:
    """The two arrays by which statements name slices, in key order."""
    ordered = sorted(slices)
    return {"subscriptions": [one.subscription for one in ordered], "partitions": [one.partition for one in ordered]}
