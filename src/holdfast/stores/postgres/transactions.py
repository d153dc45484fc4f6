"""The transactions that transactional handlers share with their receipts."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from holdfast.errors import LeaseLost, TransactionError
from holdfast.stores.ending import to_its_end
from holdfast.stores.postgres.errors import translated
from holdfast.stores.postgres.pooler import mind_pooler_sync
from holdfast.stores.postgres.session import KEEPALIVE, cut, meet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Receipt

    AnyConnection = psycopg.AsyncConnection[Any] | psycopg.Connection[Any]

_AS_CONNECTED = "reset all"  # what the handler before may have set for its session
_COMMIT = f"commit; {_AS_CONNECTED};"
_EPOCH_GONE, _ANOTHER_TRANSACTION = "HF001", "HF002"
_IDLE_GRACE, _MEET_SECONDS = 5.0, 10.0
_NETWORK = {"application_name": "holdfast handler", "connect_timeout": 10, **KEEPALIVE}
_ENDED = (
    "the handler ended the transaction that it was lent (commit or rollback): leave that to Holdfast, "
    "or nothing ties its writes to the receipt"
)


class LentAsyncConnection(psycopg.AsyncConnection[Any]):
    """Lent to handlers. ``is_as_connected``: its session has the settings that it began with, as far as we know."""

    is_as_connected = False


class LentConnection(psycopg.Connection[Any]):
    """The same for threads."""

    is_as_connected = False


class OpenTransaction:
    """See `holdfast.stores.base.HandlerTransaction`."""

    __slots__ = ("connection", "passed")

    def __init__(self, connection: Any, *, passed: bool) -> None:
        self.connection, self.passed = connection, passed


class HandlerTransactions:
    """The part of the PostgreSQL store that lends connections to handlers.

    They come from pools of their own: handlers cannot use up what publishing and settling need.
    """

    _statements: Statements
    _conninfo: str
    _where: str
    _loop: asyncio.AbstractEventLoop
    _handler_connections: int
    _pool: AsyncConnectionPool[LentAsyncConnection] | None
    _pool_sync: ConnectionPool[LentConnection]

    @asynccontextmanager
    async def transaction(
        self, receipt: Receipt, epoch: int, *, timeout: float = 300.0
    ) -> AsyncIterator[OpenTransaction]:
        first, last = self._parameters(receipt, epoch, timeout)
        async with AsyncExitStack() as stack:
            with translated(self._where):
                connection = await stack.enter_async_context((await self._async_pool()).connection())
                deadline = asyncio.get_running_loop().call_later(timeout + _IDLE_GRACE, cut, connection)
                stack.callback(deadline.cancel)
                connection.row_factory = tuple_row  # the handler before may have set its own
                if not connection.is_as_connected:
                    await connection.execute(_AS_CONNECTED)
                connection.is_as_connected = False
                cursor = await connection.execute(self._statements["first_receipt"], first, prepare=True)
                if (begun := await cursor.fetchone()) is None:
                    await connection.rollback()
                else:
                    last["transaction"] = begun[0]
            try:
                yield OpenTransaction(connection, passed=begun is None)
            except Exception as error:
                if begun is not None and (has_ended(connection) or not await self._is_ours(connection, last)):
                    raise TransactionError(_ENDED) from error
                raise
            if begun is not None:
                require_untouched(connection)
                await to_its_end(self._commit(connection, receipt, epoch, last))

    async def _commit(
        self, connection: LentAsyncConnection, receipt: Receipt, epoch: int, last: dict[str, Any]
    ) -> None:
        # All in one message: the numbers in it are put in by the driver. A pipeline would send each part by itself.
        with self._ending(receipt, epoch):
            await psycopg.AsyncClientCursor(connection).execute(self._statements["require_epoch"] + _COMMIT, last)
        connection.is_as_connected = connection.prepare_threshold is not None  # a pooler gives another session

    async def _is_ours(self, connection: psycopg.AsyncConnection[Any], last: dict[str, Any]) -> bool:
        """Whether the handler that failed has left its transaction to us; what it wrote is taken back."""
        connection.row_factory = tuple_row  # the handler may have set its own
        with suppress(psycopg.Error):
            if connection.info.transaction_status == TransactionStatus.INERROR:
                await connection.rollback()
            row = await (await connection.execute(self._statements["is_ours"], last)).fetchone()
            return row is not None and bool(row[0])
        return True

    @contextmanager
    def transaction_sync(self, receipt: Receipt, epoch: int, *, timeout: float = 300.0) -> Iterator[OpenTransaction]:
        first, last = self._parameters(receipt, epoch, timeout)
        with ExitStack() as stack:
            with translated(self._where):
                connection = stack.enter_context(self._sync_pool().connection())
                stack.enter_context(self._deadline(connection, timeout + _IDLE_GRACE))
                connection.row_factory = tuple_row  # the handler before may have set its own
                if not connection.is_as_connected:
                    connection.execute(_AS_CONNECTED)
                connection.is_as_connected = False
                cursor = connection.execute(self._statements["first_receipt"], first, prepare=True)
                if (begun := cursor.fetchone()) is None:
                    connection.rollback()
                else:
                    last["transaction"] = begun[0]
            try:
                yield OpenTransaction(connection, passed=begun is None)
            except Exception as error:
                if begun is not None and (has_ended(connection) or not self._is_ours_sync(connection, last)):
                    raise TransactionError(_ENDED) from error
                raise
            if begun is not None:
                require_untouched(connection)
                with self._ending(receipt, epoch):
                    psycopg.ClientCursor(connection).execute(self._statements["require_epoch"] + _COMMIT, last)
                connection.is_as_connected = connection.prepare_threshold is not None

    def _is_ours_sync(self, connection: psycopg.Connection[Any], last: dict[str, Any]) -> bool:
        connection.row_factory = tuple_row  # the handler may have set its own
        with suppress(psycopg.Error):
            if connection.info.transaction_status == TransactionStatus.INERROR:
                connection.rollback()
            row = connection.execute(self._statements["is_ours"], last).fetchone()
            return row is not None and bool(row[0])
        return True

    @contextmanager
    def _deadline(self, connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
        """Cut the connection of a thread after so many seconds: nothing else ends a wait for an answer in there."""
        loop, timers = self._loop, list[asyncio.TimerHandle]()

        def stop() -> None:
            for timer in timers:
                timer.cancel()

        loop.call_soon_threadsafe(lambda: timers.append(loop.call_later(seconds, cut, connection)))
        try:
            yield
        finally:
            with suppress(RuntimeError):  # the loop has ended, and its timers with it
                loop.call_soon_threadsafe(stop)

    @contextmanager
    def _ending(self, receipt: Receipt, epoch: int) -> Iterator[None]:
        with translated(self._where):
            try:
                yield
            except psycopg.Error as error:
                if error.sqlstate == _EPOCH_GONE:
                    raise LeaseLost(str(receipt.slice.subscription), receipt.slice.partition, epoch) from error
                if error.sqlstate == _ANOTHER_TRANSACTION:
                    raise TransactionError(_ENDED) from error
                raise

    def _parameters(self, receipt: Receipt, epoch: int, timeout: float) -> tuple[dict[str, Any], dict[str, Any]]:
        (subscription, partition), event_id, day, attempts, replaces = receipt
        last = {"subscription": subscription, "partition": partition, "epoch": epoch}
        first = last | {
            "id": UUID(bytes=event_id), "day": day, "attempts": attempts, "replaces": replaces,
            "idle": f"{int((timeout + _IDLE_GRACE) * 1000)}ms",
        }  # fmt: skip
        return first, last

    async def _async_pool(self) -> AsyncConnectionPool[LentAsyncConnection]:
        if self._pool is None:
            self._pool = AsyncConnectionPool(
                self._conninfo, connection_class=LentAsyncConnection, min_size=0, max_size=self._handler_connections, open=False, max_idle=60,
                kwargs=_NETWORK, timeout=30, configure=self._meet,
            )  # fmt: skip
            await self._pool.open()
        return self._pool

    def _sync_pool(self) -> ConnectionPool[LentConnection]:
        self._pool_sync.open()  # by the first of the threads; the others find it open
        return self._pool_sync

    def _new_sync_pool(self) -> ConnectionPool[LentConnection]:
        return ConnectionPool(
            self._conninfo, connection_class=LentConnection, min_size=0, max_size=self._handler_connections, open=False, max_idle=60,
            kwargs=_NETWORK, timeout=30, configure=self._meet_sync,
        )  # fmt: skip

    # The pools wait for these two, without a bound of their own, and do not close what they raise about.

    async def _meet(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await meet(connection, _MEET_SECONDS)

    def _meet_sync(self, connection: psycopg.Connection[Any]) -> None:
        try:
            with self._deadline(connection, _MEET_SECONDS):
                mind_pooler_sync(connection)
        except BaseException:
            connection.pgconn.finish()
            raise


def require_untouched(connection: AnyConnection) -> None:
    """Raise if the handler ended the transaction that it was lent, or left it failed."""
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise TransactionError(
            "a statement of the handler failed and the handler went on as if nothing had happened: "
            "let the error out, or use a savepoint (connection.transaction())"
        )
    if has_ended(connection):
        raise TransactionError(_ENDED)


def has_ended(connection: AnyConnection) -> bool:
    """Whether no transaction is open on a connection that is; one that is lost has at least not committed ours."""
    if connection.closed:
        return not connection.broken
    return connection.info.transaction_status == TransactionStatus.IDLE
