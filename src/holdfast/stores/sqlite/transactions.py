"""Transactions that a handler's writes and its receipt share.

SQLite has one writer at a time, so one connection serves them all, one after the other: they queue at a gate of
their own, and only the first in the queue rivals the store's writer for the write lock. While a handler runs in its
transaction nobody else writes to the file, this process's own worker included; such handlers have to be short.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import StoreBusy, StoreUnavailable, TransactionError
from holdfast.stores.ending import to_its_end
from holdfast.stores.sqlite.errors import ERROR, may_roll_back, result_code, translated
from holdfast.stores.sqlite.leasing import held
from holdfast.stores.sqlite.rows import id_text
from holdfast.stores.sqlite.session import is_open
from holdfast.stores.sqlite.settling import write_receipts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import Future, OneThread, SessionThread, Turn
    from holdfast.stores.values import Receipt

_LOOK_SECONDS = 0.5  # how often one who queues looks whether the store was closed


@dataclass(slots=True)
class OpenTransaction:
    """See `holdfast.stores.base.HandlerTransaction`."""

    connection: sqlite3.Connection
    passed: bool


class HandlerTransactions:
    """
    Hands out the transactions, one at a time.

    Args:
        sessions: Has the connection; its own thread is not used.
        turn: To write, shared with the store's writer.
        timeout: Seconds to wait for the turn.
        where: The store, for messages.
        gate: Of the queue before the turn.
        thread: Makes the threads that begin and commit.
    """

    def __init__(
        self, sessions: SessionThread, *, turn: Turn, timeout: float, where: str, gate: Turn,
        thread: Callable[[str], OneThread],
    ) -> None:  # fmt: skip
        self._sessions, self._turn, self._timeout, self._where = sessions, turn, timeout, where
        self._gate = gate
        # Two threads: who waits for the gate in the first must not keep the one before from committing.
        self._entrance, self._exit = thread("holdfast-sqlite-begin"), thread("holdfast-sqlite-commit")
        self._closed = False

    @asynccontextmanager
    async def asynchronous(self, receipt: Receipt, epoch: int) -> AsyncIterator[OpenTransaction]:
        transaction = await self._enter(receipt, epoch)
        try:
            yield transaction
        except BaseException as error:
            await self._leave(transaction, error)
            raise
        await self._leave(transaction, None)

    @contextmanager
    def synchronous(self, receipt: Receipt, epoch: int) -> Iterator[OpenTransaction]:
        transaction = self._begin(receipt, epoch)
        try:
            yield transaction
        except BaseException as error:
            self._end(transaction, error)
            raise
        self._end(transaction, None)

    def close(self) -> None:
        """Let nobody in any more. Who is in may still commit."""
        self._closed = True
        self._entrance.close()
        self._exit.close()

    async def _enter(self, receipt: Receipt, epoch: int) -> OpenTransaction:
        beginning = self._entrance.submit(self._begin, receipt, epoch)
        try:
            return await asyncio.wrap_future(beginning)
        except asyncio.CancelledError:
            # It may be too late to withdraw it: then it is undone when it has begun.
            beginning.add_done_callback(self._undo)
            raise

    def _undo(self, beginning: Future[OpenTransaction]) -> None:
        if not beginning.cancelled() and beginning.exception() is None:
            self._end(beginning.result(), asyncio.CancelledError())

    async def _leave(self, transaction: OpenTransaction, error: BaseException | None) -> None:
        if transaction.passed:
            return
        try:
            ending = self._exit.submit(self._end, transaction, error)
        except StoreUnavailable:  # closed meanwhile: what is in hand still ends properly
            self._end(transaction, error)
        else:
            # Whatever becomes of the caller, the thread ends the transaction and frees its locks.
            await to_its_end(asyncio.wrap_future(ending))

    def _begin(self, receipt: Receipt, epoch: int) -> OpenTransaction:
        self._take_locks()
        try:
            with translated(self._where), self._sessions.in_use() as session:
                transaction = _open(session, receipt, epoch)
        except BaseException:
            self._give_locks()
            raise
        if transaction.passed:
            self._give_locks()
        return transaction

    def _end(self, transaction: OpenTransaction, error: BaseException | None) -> None:
        if transaction.passed:
            return
        try:
            with translated(self._where), self._sessions.in_use():
                _close(transaction.connection, error)
        finally:
            self._give_locks()

    def _take_locks(self) -> None:
        while True:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            try:
                self._gate.take(_LOOK_SECONDS)
            except StoreBusy:
                continue
            break
        try:
            self._turn.take(self._timeout)
        except BaseException:
            self._gate.give()
            raise

    def _give_locks(self) -> None:
        self._turn.give()
        self._gate.give()


def _open(session: Session, receipt: Receipt, epoch: int) -> OpenTransaction:
    """Begin, and write the receipt; where that is not to be, roll back."""
    connection = session.connection
    connection.row_factory, connection.text_factory = None, str  # the handler before may have set its own
    connection.execute("begin immediate")
    try:
        passed = not _write_receipt(session, receipt, epoch)
        if passed:
            connection.execute("rollback")
        else:
            # Gone when the handler commits or rolls back by itself.
            connection.execute("savepoint holdfast_handler")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return OpenTransaction(connection, passed)


def _write_receipt(session: Session, receipt: Receipt, epoch: int) -> bool:
    """Returns False where the handler must not run."""
    if not held(session, {receipt.slice: epoch}):
        return False
    place = {"subscription": receipt.slice.subscription, "event_id": id_text(receipt.event_id)}
    if not receipt.replaces:
        return session.count("first_receipt", place | {"attempts": receipt.attempts, "now": session.now()}) == 1
    if session.count("finish_replay", place) == 0:
        return False
    write_receipts(session, "settle_replaced", receipt.slice.subscription, receipt.attempts, [receipt.event_id])
    return True


def _close(connection: sqlite3.Connection, error: BaseException | None) -> None:
    """Commit, or roll back after an *error*, which goes on its way."""
    failure: sqlite3.Error | None = None
    try:
        connection.execute("release holdfast_handler")
    except sqlite3.Error as refused:
        failure = refused
    # Gone is what there is "no such" of, or whose connection is closed; another failure is the store's.
    is_ours = failure is None or result_code(failure) not in {ERROR, None}
    if failure is None and error is None:
        try:
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        return
    if is_open(connection):
        connection.execute("rollback")
    if is_ours and failure is not None and error is None:
        raise failure
    if not is_ours and (error is None or isinstance(error, Exception)) and not may_roll_back(error):
        raise TransactionError(
            "a transactional handler has ended the transaction it was handed (commit, rollback, executescript, "
            "close, or a `with connection:` block): what it wrote before may be stored and what came after is not; "
            "leave commit and rollback to Holdfast"
        ) from error
