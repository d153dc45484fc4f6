"""One connection with what the store's roles need on it: statements by name, the clock, write transactions."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.ports import wall_millis
from holdfast.stores.sqlite.rows import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from holdfast.stores.sql import Statements

WAL_BYTES_KEPT = 64 * 1024 * 1024
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> datetime:
    """This machine's clock. All processes of an SQLite file share it, so it is the database's clock."""
    return _UNIX_EPOCH + timedelta(milliseconds=wall_millis())


def connect(path: str | None, *, timeout: float, create: bool = False) -> sqlite3.Connection:
    """
    A connection in autocommit with the engine's settings; *timeout* is how long it waits for the write lock.

    Usable from any thread, by one at a time. The file is never opened in another way: closing any other
    descriptor of it would drop the locks of this process.
    """
    mode = "rwc" if create else "rw"
    database = ":memory:" if path is None else f"{Path(path).absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        database, timeout=timeout, uri=path is not None, isolation_level=None, check_same_thread=False,
        cached_statements=256, factory=MemoryConnection if path is None else sqlite3.Connection,
    )  # fmt: skip
    try:
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma synchronous = full")
        connection.execute(f"pragma journal_size_limit = {WAL_BYTES_KEPT}")
    except BaseException:
        sqlite3.Connection.close(connection)
        raise
    return connection


def is_open(connection: sqlite3.Connection) -> bool:
    """Whether a transaction is open; False for a closed connection."""
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:
        return False


class MemoryConnection(sqlite3.Connection):
    """The connection that is a store in memory: whoever it is lent to cannot close it, and the store with it."""

    def close(self) -> None:
        raise sqlite3.ProgrammingError("the connection is the store itself, which would be gone: do not close it")

    def end(self) -> None:
        """Let the store go."""
        super().close()


class Session:
    """A connection in the hands of one thread at a time."""

    __slots__ = ("_clock", "_statements", "connection")

    def __init__(self, connection: sqlite3.Connection, statements: Statements, clock: Callable[[], datetime]) -> None:
        self.connection, self._statements, self._clock = connection, statements, clock

    def close(self) -> None:
        if isinstance(self.connection, MemoryConnection):
            self.connection.end()
        else:
            self.connection.close()

    def now(self, seconds: float = 0.0) -> str:
        """The clock's time, *seconds* later, as the tables keep it."""
        return time_text(self._clock() + timedelta(seconds=seconds))

    def seconds_until(self, moment: str) -> float:
        """Seconds from now until a stored time."""
        return (datetime.fromisoformat(moment) - self._clock()).total_seconds()

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a named statement."""
        return self.connection.execute(self._statements[statement], parameters).fetchall()

    def stream(self, statement: str, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a named statement, read while they are asked for."""
        return self.connection.execute(self._statements[statement], parameters)

    def row(self, statement: str, **parameters: Any) -> tuple[Any, ...] | None:
        """The only row of a named statement, if there is one."""
        rows = self.rows(statement, **parameters)
        return rows[0] if rows else None

    def count(self, statement: str, parameters: Mapping[str, Any] | Sequence[Any]) -> int:
        """Run a named statement; returns the number of rows that it wrote."""
        return self.connection.execute(self._statements[statement], parameters).rowcount

    def each(self, statement: str, parameters: Iterable[Mapping[str, Any] | Sequence[Any]]) -> None:
        """Run a named statement once for each set of parameters."""
        self.connection.executemany(self._statements[statement], parameters)

    @contextmanager
    def write(self) -> Iterator[None]:
        """A write transaction. It takes the write lock at once: one that read first could find its snapshot stale."""
        self.connection.execute("begin immediate")
        try:
            yield
            self.connection.execute("commit")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """A read transaction: all statements inside see the same state."""
        self.connection.execute("begin")
        try:
            yield
        finally:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
