"""The transactions that transactional handlers share with their receipts."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from holdfast.errors import TransactionError
from holdfast.stores.postgres.errors import translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import psycopg

    from holdfast.stores.base import Receipt
    from holdfast.stores.sql import Statements

# Gone when the handler ended our transaction, even if it began another: releasing it then fails, and loudly.
_OPEN = "savepoint holdfast_handler"
_CLOSE = "release savepoint holdfast_handler; commit"


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
    _handler_connections: int
    _pool: AsyncConnectionPool | None
    _pool_sync: ConnectionPool | None

    @asynccontextmanager
    async def transaction(self, receipt: Receipt, epoch: int) -> AsyncIterator[OpenTransaction]:
        async with AsyncExitStack() as stack:
            with translated(self._where):
                connection = await stack.enter_async_context((await self._async_pool()).connection())
                # The driver begins the transaction by itself, in the same round trip as the receipt.
                async with connection.pipeline():
                    cursor = await connection.execute(self._statements["first_receipt"], self._first(receipt, epoch))
                    await connection.execute(_OPEN)
                if passed := cursor.rowcount == 0:
                    await connection.rollback()
            yield OpenTransaction(connection, passed=passed)
            if not passed:
                require_untouched(connection)
                with translated(self._where):
                    await connection.execute(_CLOSE)

    @contextmanager
    def transaction_sync(self, receipt: Receipt, epoch: int) -> Iterator[OpenTransaction]:
        with ExitStack() as stack:
            with translated(self._where):
                connection = stack.enter_context(self._sync_pool().connection())
                with connection.pipeline():
                    cursor = connection.execute(self._statements["first_receipt"], self._first(receipt, epoch))
                    connection.execute(_OPEN)
                if passed := cursor.rowcount == 0:
                    connection.rollback()
            yield OpenTransaction(connection, passed=passed)
            if not passed:
                require_untouched(connection)
                with translated(self._where):
                    connection.execute(_CLOSE)

    def _first(self, receipt: Receipt, epoch: int) -> dict[str, Any]:
        (subscription, partition), event_id, day, attempts, replaces = receipt
        return {
            "subscription": subscription, "partition": partition, "epoch": epoch, "id": UUID(bytes=event_id), "day": day,
            "attempts": attempts, "replaces": replaces,
        }  # fmt: skip

    async def _async_pool(self) -> AsyncConnectionPool:
        if self._pool is None:
            self._pool = AsyncConnectionPool(
                self._conninfo, min_size=0, max_size=self._handler_connections, open=False, max_idle=60,
                kwargs={"application_name": "holdfast handler"}, timeout=30,
            )  # fmt: skip
            await self._pool.open()
        return self._pool

    def _sync_pool(self) -> ConnectionPool:
        if self._pool_sync is None:
            self._pool_sync = ConnectionPool(
                self._conninfo, min_size=0, max_size=self._handler_connections, open=True, max_idle=60,
                kwargs={"application_name": "holdfast handler"}, timeout=30,
            )  # fmt: skip
        return self._pool_sync


def require_untouched(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Raise if the handler ended the transaction that it was lent, or left it failed."""
    status = connection.info.transaction_status
    if status == TransactionStatus.INERROR:
        raise TransactionError(
            "a statement of the handler failed and the handler went on as if nothing had happened: "
            "let the error out, or use a savepoint (connection.transaction())"
        )
    if status != TransactionStatus.INTRANS:
        raise TransactionError(
            "the handler ended the transaction that it was lent (commit or rollback): leave that to Holdfast, "
            "or nothing ties its writes to the receipt"
        )
