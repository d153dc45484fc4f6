"""The SQLite store: one file, one writer at a time. Its roles live in the modules beside this one."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError, PermissionDenied, StoreBusy, StoreUnavailable, WrongStore
from holdfast.stores.sql import Statements
from holdfast.stores.sqlite.deliveries import Deliveries
from holdfast.stores.sqlite.errors import BUSY, CANTOPEN, READONLY, result_code
from holdfast.stores.sqlite.files import check_place, path_of
from holdfast.stores.sqlite.keeping_keys import KeepingKeys
from holdfast.stores.sqlite.lagging import Lagging
from holdfast.stores.sqlite.leasing import Leasing
from holdfast.stores.sqlite.listening import listen
from holdfast.stores.sqlite.maintenance import Maintaining
from holdfast.stores.sqlite.migrating import migrate
from holdfast.stores.sqlite.publishing import Publishing
from holdfast.stores.sqlite.reader import SQLiteReader
from holdfast.stores.sqlite.registration import Registration
from holdfast.stores.sqlite.scheduling import Scheduling
from holdfast.stores.sqlite.session import Session, connect, system_clock
from holdfast.stores.sqlite.settling import Settling
from holdfast.stores.sqlite.threads import OneThread, SessionThread, Stop, Turn
from holdfast.stores.sqlite.transactions import HandlerTransactions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from datetime import datetime

    from holdfast.stores.base import HandlerTransaction, Reader
    from holdfast.stores.values import Receipt

_SWITCH_PAUSE = 0.01


class SQLiteStore(
    Publishing, Scheduling, Registration, Leasing, Deliveries, Settling, Maintaining, Lagging, KeepingKeys
):  # fmt: skip
    """
    Events in one SQLite file, for any number of processes of one machine; or in memory, for one process.

    Args:
        path: The file; None is memory. Its directory must exist, on a disk of this machine.
        clock: Gives aware datetimes; the clock of leases, receipts and retries. For tests.
        timeout: Seconds to wait for the write lock, and for a transactional handler of this process.
        thread: Makes each thread that the store's blocking calls run in. For tests.
        turn: Makes the locks between those threads. For tests.
    """

    def __init__(
        self,
        path: str | None,
        *,
        clock: Callable[[], datetime] = system_clock,
        timeout: float = 2.0,
        thread: Callable[[str], OneThread] = OneThread,
        turn: Callable[[str], Turn] = Turn,
    ) -> None:
        self._path = None if path is None else str(Path(path).absolute())
        self.address = f"sqlite-{self._path or 'memory'}"
        self.is_durable = self._path is not None
        self.is_remote = False
        self._clock, self._timeout = clock, timeout
        self._where = "the memory store" if self._path is None else f"the store {self._path}"
        self._statements = Statements("holdfast.stores.sqlite", None)
        self._identity: str | None = None
        self._thread, self._turn, self._stop = thread, turn(self._where), Stop()
        self._writer = SessionThread(
            "holdfast-sqlite-write", self._connect_writer,
            where=self._where, turn=self._turn, timeout=timeout, lasting=path is None, thread=thread,
        )  # fmt: skip
        # In memory there is one connection, so it does everything, one thing at a time.
        self._lookup = self._writer if path is None else self._session_thread("look", reads_only=True)
        self._handling = self._writer if path is None else self._session_thread("handle", reads_only=False)
        self._transactions = HandlerTransactions(
            self._handling, turn=self._turn, timeout=timeout, where=self._where, gate=turn(self._where), thread=thread
        )

    @classmethod
    def from_dsn(cls, dsn: str, *, clock: Callable[[], datetime] = system_clock, timeout: float = 2.0) -> SQLiteStore:
        """
        The store that a DSN names; see `holdfast.stores.sqlite.files.path_of` for its forms.

        Raises:
            ConfigurationError: The DSN has another form.
        """
        return cls(path_of(dsn), clock=clock, timeout=timeout)

    @property
    def identity(self) -> str:
        if self._identity is None:
            raise StoreUnavailable(f"{self._where} has not been opened")
        return self._identity

    async def open(self) -> None:
        await self.migrate()
        self._identity = await self._writer.run(identity)

    async def migrate(self) -> list[str]:
        return await self._writer.run(self._set_up)

    async def close(self) -> None:
        self._stop.set()
        self._transactions.close()
        for thread in (self._handling, self._lookup, self._writer):
            await thread.close()

    def abandon(self) -> None:
        """Let go of every connection without waiting: the loop that could wait is gone."""
        self._stop.set()
        self._transactions.close()
        for thread in (self._handling, self._lookup, self._writer):
            thread.abandon()

    def latest(self, places: Collection[str]) -> str:
        return max(places, key=int)

    async def reader(self) -> Reader:
        if self._path is None:
            return SQLiteReader(self._writer, shared=True)
        return SQLiteReader(self._session_thread("read", reads_only=True), shared=False)

    def transaction(
        self, receipt: Receipt, epoch: int, *, timeout: float = 300.0
    ) -> AbstractAsyncContextManager[HandlerTransaction]:
        del timeout  # a process that dies lets go of its locks, and one that stands still holds the file anyway
        return self._transactions.asynchronous(receipt, epoch)

    def transaction_sync(
        self, receipt: Receipt, epoch: int, *, timeout: float = 300.0
    ) -> AbstractContextManager[HandlerTransaction]:
        del timeout
        return self._transactions.synchronous(receipt, epoch)

    async def listen(self, wake: Callable[[], None]) -> None:
        """Runs until cancelled; on a file also until the store is closed."""
        if self._path is None:  # nobody else can store anything
            await asyncio.get_running_loop().create_future()
        await listen(self._connect, wake, self._stop)

    def _session_thread(self, role: str, *, reads_only: bool) -> SessionThread:
        return SessionThread(
            f"holdfast-sqlite-{role}", self._connect_reader if reads_only else self._connect_session,
            where=self._where, turn=None, timeout=self._timeout, thread=self._thread,
        )  # fmt: skip

    def _connect(self, *, create: bool = False) -> sqlite3.Connection:
        return connect(self._path, timeout=self._timeout, create=create)

    def _connect_writer(self) -> Session:
        if self._path is None and self._identity is not None:
            raise StoreUnavailable("the memory store was closed, and its events are gone")
        if self._path is not None:
            check_place(self._path)
        # Made only by `open`: a file that vanishes later must not come back empty.
        return self._checked(self._connect(create=self._identity is None))

    def _connect_session(self) -> Session:
        return self._checked(self._connect())

    def _connect_reader(self) -> Session:
        session = self._connect_session()
        session.connection.execute("pragma query_only = on")
        return session

    def _checked(self, connection: sqlite3.Connection) -> Session:
        session = Session(connection, self._statements, self._clock)
        try:
            if self._identity is not None and identity(session) != self._identity:
                raise WrongStore(f"{self._where} has been replaced by another one: restart this process")
        except BaseException:
            session.close()
            raise
        return session

    def _set_up(self, session: Session) -> list[str]:
        connection = session.connection
        try:
            if self._path is not None:
                self._use_write_ahead_log(connection)
            return migrate(session, list(self._statements.migrations()), self._where)
        except sqlite3.Error as error:
            if result_code(error) in {READONLY, CANTOPEN}:
                raise PermissionDenied(
                    f"{self._where} cannot be written: {error}; this user needs write access to the file, to those "
                    f"beside it that end in -wal and -shm, and to their directory"
                ) from error
            raise

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Readers and the writer do not wait for each other then. The file remembers it."""
        # The switch wants the file for itself: whoever has it open for a moment is waited for, here and not by SQLite,
        # which would begin its own time anew with each try.
        connection.execute("pragma busy_timeout = 0")
        for _ in range(max(1, int(self._timeout / _SWITCH_PAUSE))):
            try:
                (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
                break
            except sqlite3.OperationalError as error:
                if result_code(error) != BUSY:
                    raise
            self._stop.wait(_SWITCH_PAUSE)
        else:
            raise StoreBusy(
                f"{self._where} is not in write-ahead mode, and somebody has a transaction open that keeps it from being "
                f"switched, for more than {self._timeout:g} s: end that transaction once"
            )
        connection.execute(f"pragma busy_timeout = {int(self._timeout * 1000)}")
        if mode != "wal":
            raise ConfigurationError(
                f"{self._where}: write-ahead logging is not available there (journal mode {mode}): put the file on "
                f"an ordinary disk of this machine"
            )


def identity(session: Session) -> str:
    row = session.row("identity")
    assert row is not None
    return str(row[0])
