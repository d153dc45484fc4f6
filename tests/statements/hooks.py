"""Breaking statements of SQLite by its own means: each connection tells when a statement begins (``sqlite3_trace``).

Nothing is raised here, SQLite itself fails: because it is interrupted, because a rival has the write lock, or because
the operating system refuses to write.
Reference: sqlite.org, "sqlite3_interrupt" and "sqlite3_trace_v2"; what an interrupted COMMIT or ROLLBACK leaves.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from tests.statements.counting import Countdown

if TYPE_CHECKING:
    from typing import Self

    import pytest


_DESCRIPTORS = Path("/proc/self/fd")
CAN_BREAK_THE_DISK = _DESCRIPTORS.is_dir()


class Break(StrEnum):
    """What happens to a statement."""

    INTERRUPTED = "interrupted"
    LOCKED = "locked"  # a rival takes the write lock before it, where it is free
    DISK = "disk"  # the write-ahead log cannot be written while it runs
    CANCELLED = "cancelled"  # who awaits is cancelled before it runs


class Hooks(Countdown[Break]):
    """Watches every connection to the file at *path* that is opened while this context is entered."""

    def __init__(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._path, self._monkeypatch, self._connect = path, monkeypatch, sqlite3.connect
        self._changing = Lock()  # statements begin in several threads
        self._rival: sqlite3.Connection | None = None
        self._writable: dict[int, int] = {}  # descriptors of the log that were made read-only: a copy of each
        self.failures: list[BaseException] = []

    def __enter__(self) -> Self:
        self._monkeypatch.setattr(sqlite3, "connect", self._watched)
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._monkeypatch.undo()
        if self._rival is not None:
            self._rival.close()

    def unwatched(self) -> sqlite3.Connection:
        """A connection of an onlooker's, whose statements do not count."""
        return self._connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)

    def heal(self) -> int:
        met = super().heal()
        with self._changing:
            self._relieve()
        if self.failures:
            raise self.failures[0]
        return met

    def _watched(self, database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = self._connect(database, *arguments, **options)
        if self._path in str(database):
            connection.set_trace_callback(lambda _: self._statement(connection))
        return connection

    def _statement(self, connection: sqlite3.Connection) -> None:
        try:
            self._break(connection)
        except BaseException as error:  # SQLite would swallow it
            self.failures.append(error)

    def _break(self, connection: sqlite3.Connection) -> None:
        fault = self.begins()
        with self._changing:
            self._relieve()
            if fault is Break.LOCKED:
                self._lock_out()
            elif fault is Break.DISK:
                self._make_read_only()
        if fault is Break.INTERRUPTED:
            connection.interrupt()
        elif fault is Break.CANCELLED:
            self.cancel()

    def _lock_out(self) -> None:
        self._rival = self._rival or self.unwatched()
        with suppress(sqlite3.OperationalError):  # the statement is in a transaction that has the lock
            self._rival.execute("begin immediate")

    def _make_read_only(self) -> None:
        log = f"{self._path}-wal"
        for number in open_descriptors(log):
            self._writable[number] = os.dup(number)
            read_only = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(read_only, number, inheritable=False)
            os.close(read_only)

    def _relieve(self) -> None:
        if self._rival is not None and self._rival.in_transaction:
            self._rival.execute("rollback")
        for number, writable in self._writable.items():
            # SQLite may have closed it since, and its number be another file's.
            if number in open_descriptors(f"{self._path}-wal") and is_read_only(number):
                os.dup2(writable, number, inheritable=False)
            os.close(writable)
        self._writable.clear()


def open_descriptors(path: str) -> list[int]:
    """This process's descriptors of a file."""
    found = []
    for link in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # closed meanwhile
            if str(link.readlink()) == path:
                found.append(int(link.name))
    return found


def is_read_only(number: int) -> bool:
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
