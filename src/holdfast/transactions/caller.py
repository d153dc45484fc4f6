"""What every adapter offers, and how errors of every driver become errors of Holdfast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from holdfast.errors import HoldfastError, TransactionAborted, TransactionError, WrongStore
from holdfast.stores.sqlstate import NO_TABLES, cause, from_sqlstate

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
WHERE = "the connection given as tx="


class Caller(ABC):
    """A transaction that belongs to the caller.

    SQL has ``:name`` placeholders, and every parameter is a text. Statements for PostgreSQL must return rows. Those
    for SQLite must begin with INSERT where they write: only then does the standard library begin a transaction.
    """

    is_async: ClassVar[bool] = False

    @abstractmethod
    def require_transaction(self) -> None:
        """
        Refuse what can be seen, without sending anything, to be unable to take an event.

        Raises:
            NotInTransaction: In autocommit with no open transaction: the event could not be rolled back.
            TransactionAborted: Closed, or its transaction has failed.
        """

    async def run(self, sql: str, parameters: Mapping[str, str]) -> Sequence[tuple[Any, ...]]:
        """
        Run one statement; returns its rows. A synchronous connection is used in the calling thread.

        Raises:
            NotInTransaction, TransactionAborted: Where only the driver, or the server, could tell.
            WrongStore: The tables are not there.
            StoreBusy, StoreUnavailable, PermissionDenied, InvalidEvent, StoreError: By the database's code.
        """
        return self.run_sync(sql, parameters)

    def run_sync(self, sql: str, parameters: Mapping[str, str]) -> Sequence[tuple[Any, ...]]:  # noqa: ARG002
        """The same for synchronous connections and sessions.

        Raises:
            TransactionError: This one is asynchronous.
        """
        raise TransactionError(
            "an asynchronous connection or session was given as tx= to a synchronous publish: "
            "pass a synchronous one, or publish with EventBus"
        )

    async def lend(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call *function* with the connection of sqlite3 that lies below, in the thread that this belongs to.

        Raises:
            TransactionError: There is none below.
        """
        return self.lend_sync(function)

    def lend_sync(self, function: Callable[[sqlite3.Connection], T]) -> T:  # noqa: ARG002
        """The same for synchronous connections and sessions."""
        raise unusable("it is asynchronous, or no connection of sqlite3 lies below it")


def closed() -> TransactionAborted:
    return TransactionAborted(f"{WHERE} is closed: nothing was published; open one and begin a transaction")


def failed(problem: str) -> TransactionAborted:
    return TransactionAborted(f"{WHERE} cannot go on: {problem}; nothing was published: roll back and start again")


def unusable(problem: str) -> TransactionError:
    return TransactionError(f"{WHERE} cannot be used: {problem}; nothing was published")


def cause_in_postgres(error: Exception) -> Exception | None:
    """What to raise `from_postgres` from."""
    return cause(error, _code(error))


def from_postgres(error: Exception) -> HoldfastError:
    """The error of Holdfast that stands for *error* of any driver of PostgreSQL, by its SQLSTATE."""
    code = _code(error)
    # The primary message alone: the driver's full text has a DETAIL line with values of the row.
    primary = getattr(getattr(error, "diag", None), "message_primary", None) or getattr(error, "message", None)
    message = str(primary or error).strip()
    if code == "25P02":
        return failed(message)
    if code in NO_TABLES:
        return no_tables(message)
    return from_sqlstate(code, message, WHERE)


def _code(error: Exception) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def no_tables(message: str) -> WrongStore:
    return WrongStore(
        f"{WHERE} leads to a database without the tables of this bus ({message}): nothing was published; "
        f"pass a connection to the bus's own database"
    )
