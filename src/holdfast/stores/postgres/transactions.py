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
from holdfast.stores.postgres.pipelines import pipelined, pipelined_sync
from holdfast.stores.postgres.pooler import mind_pooler_sync
from holdfast.stores.postgres.session import KEEPALIVE, cut, meet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Receipt

    AnyConnection = psycopg.AsyncConnection[Any] | psycopg.Connection[Any]

# Gone when the handler ended our transaction, even if it began another: releasing it then fails, and loudly.
_OPEN = "savepoint holdfast_handler"
_RELEASE = "release savepoint holdfast_handler"
_RETURN = "rollback to savepoint holdfast_handler"
_AS_CONNECTED = "reset all"  # what the handler before may have set for its session
_WAIT_AS_USUAL = "set local lock_timeout to default"
_NO_SAVEPOINT, _EPOCH_GONE = "3B001", "HF001"
_IDLE_GRACE, _MEET_SECONDS = 5.0, 10.0
_NETWORK = {"application_name": "holdfast handler", "connect_timeout": 10, **KEEPALIVE}
_ENDED = (
    "the handler ended the transaction that it was lent (commit or rollback): leave that to Holdfast, "
    "or nothing ties its writes to the receipt"
)


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
    _pool: AsyncConnectionPool | None
    _pool_sync: ConnectionPool

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
                # The driver begins the transaction by itself, in the same round trip as the receipt.
                connection.row_factory = tuple_row  # the handler before may have set its own
                async with pipelined(connection):
                    await connection.execute(_AS_CONNECTED)
                    await connection.execute(self._statements["begin_handling"], first)
                    cursor = await connection.execute(self._statements["first_receipt"], first)
                    await connection.execute(_WAIT_AS_USUAL)
                    await connection.execute(_OPEN)
                if passed := cursor.rowcount == 0:
                    await connection.rollback()
            try:
                yield OpenTransaction(connection, passed=passed)
            except Exception as error:
                if not passed and (has_ended(connection) or not await _returns(connection)):
                    raise TransactionError(_ENDED) from error
                raise
            if not passed:
                require_untouched(connection)
                await to_its_end(self._commit(connection, receipt, epoch, last))

    async def _commit(
        self, connection: psycopg.AsyncConnection[Any], receipt: Receipt, epoch: int, last: dict[str, Any]
    ) -> None:
        with self._ending(receipt, epoch):
            async with pipelined(connection):
                await connection.execute(self._statements["require_epoch"], last)
                await connection.execute(_RELEASE)
                await connection.execute("commit")

    @contextmanager
    def transaction_sync(self, receipt: Receipt, epoch: int, *, timeout: float = 300.0) -> Iterator[OpenTransaction]:
        first, last = self._parameters(receipt, epoch, timeout)
        with ExitStack() as stack:
            with translated(self._where):
                connection = stack.enter_context(self._sync_pool().connection())
                stack.enter_context(self._deadline(connection, timeout + _IDLE_GRACE))
                connection.row_factory = tuple_row  # the handler before may have set its own
                with pipelined_sync(connection):
                    connection.execute(_AS_CONNECTED)
                    connection.execute(self._statements["begin_handling"], first)
                    cursor = connection.execute(self._statements["first_receipt"], first)
                    connection.execute(_WAIT_AS_USUAL)
                    connection.execute(_OPEN)
                if passed := cursor.rowcount == 0:
                    connection.rollback()
            try:
                yield OpenTransaction(connection, passed=passed)
            except Exception as error:
                if not passed and (has_ended(connection) or not _returns_sync(connection)):
                    raise TransactionError(_ENDED) from error
                raise
            if not passed:
                require_untouched(connection)
                with self._ending(receipt, epoch), pipelined_sync(connection):
                    connection.execute(self._statements["require_epoch"], last)
                    connection.execute(_RELEASE)
                    connection.execute("commit")

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
                if error.sqlstate == _NO_SAVEPOINT:
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

    async def _async_pool(self) -> AsyncConnectionPool:
        if self._pool is None:
            self._pool = AsyncConnectionPool(
                self._conninfo, min_size=0, max_size=self._handler_connections, open=False, max_idle=60,
                kwargs=_NETWORK, timeout=30, configure=self._meet,
            )  # fmt: skip
            await self._pool.open()
        return self._pool

    def _sync_pool(self) -> ConnectionPool:
        self._pool_sync.open()  # by the first of the threads; the others find it open
        return self._pool_sync

    def _new_sync_pool(self) -> ConnectionPool:
        return ConnectionPool(
            self._conninfo, min_size=0, max_size=self._handler_connections, open=False, max_idle=60,
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


async def _returns(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether our savepoint is still there; what came after it is taken back."""
    try:
        await connection.execute(_RETURN)
    except psycopg.errors.InvalidSavepointSpecification:
        return False
    except psycopg.Error:
        return True
    return True


def _returns_sync(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute(_RETURN)
    except psycopg.errors.InvalidSavepointSpecification:
        return False
    except psycopg.Error:
        return True
    return True
