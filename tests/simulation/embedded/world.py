"""The world of a run on the real SQLite store: one file on a memory disk, shared by all processes as real ones do."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.stores.sql import Statements
from holdfast.stores.sqlite.migrating import migrate
from holdfast.stores.sqlite.session import Session
from tests.simulation.embedded.connection import Fuse, connect
from tests.simulation.embedded.operator import Operator
from tests.simulation.embedded.server import FileServer
from tests.simulation.embedded.store import File, FileStore
from tests.simulation.embedded.witness import Witness
from tests.simulation.network import Network
from tests.simulation.size import SMALL
from tests.simulation.weather import Sky
from tests.simulation.world import World

if TYPE_CHECKING:
    from holdfast.event import NewEvent
    from tests.simulation.loop import Process
    from tests.simulation.server import Effect
    from tests.simulation.size import Size

_NOT_HERE = frozenset({"crash", "cut readers"})
"""Blows: there is no server to crash, nor sessions to cut."""
_INSERT = "insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload) values (?, ?, ?, ?, ?, ?)"


class FileWorld(World):
    """
    As `World`. Without ``tx=`` publishes of programs, which would wait for SQLite's lock in the only real thread.
    """

    lends_transactions = False

    def __init__(self, seed: int, size: Size = SMALL) -> None:
        super().__init__(seed, size)
        self.faults = replace(self.faults, blows=tuple(blow for blow in self.faults.blows if blow not in _NOT_HERE))
        self._make_file()
        self.server: FileServer = FileServer(self.path, self.server_time, self.history.numbers)
        self.network = Network(self.loop, self.server, self.sky, self.trace)
        witness, fuse = Witness(self.server), Fuse(self.sky.random)
        self.file = File(self.path, self.now, self.sky, fuse, witness, self.trace)
        self.operator: Any = Operator(FileStore(replace(self.file, sky=Sky(self.sky.random))))

    @cached_property
    def path(self) -> str:
        return str(self.folder / "store.db")

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.server_time(), UTC)

    def _make_file(self) -> None:
        """Made here, and not by whoever comes first: the switch to write-ahead logging waits in real time."""
        statements = Statements("holdfast.stores.sqlite", None)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("pragma journal_mode = wal")
            migrate(Session(connection, statements, self.now), list(statements.migrations()), self.path)

    def store_of(self, process: Process) -> FileStore:
        del process  # its jobs run in the context of whoever asks
        return FileStore(self.file, page_events=self.page_events)

    def close_files(self, store: FileStore) -> None:
        store.close_files()

    def write_effect(self, connection: sqlite3.Connection, effect: Effect) -> None:
        connection.execute("insert into effects values (?, ?, ?, ?)", effect)

    async def publish_with_sql(self, count: int) -> None:
        """Programs without Holdfast: they keep the file to themselves for a while, and commit or not."""
        for _ in range(count):
            await asyncio.sleep(self.random.expovariate(2.0 * self.size.pace))
            event = self.new_event(self.random.choice(("a", "b", None)))
            with closing(connect(self.path, self.file.witness, self.file.fuse)) as connection:
                await self._insert(connection, event)

    async def _insert(self, connection: sqlite3.Connection, event: NewEvent) -> None:
        note = self.history.invoke(event, "sql", "sql")
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError:  # another writes
            self.history.ended(note, "failed")
            return
        at = self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        connection.execute(_INSERT, (str(UUID(bytes=event.id.bytes)), at, event.tenant_id, event.name, event.key, "{}"))
        await asyncio.sleep(0.3 * self.random.random())
        commits = self.random.random() < 0.75
        connection.execute("commit" if commits else "rollback")
        self.history.ended(note, "ok" if commits else "rolled back")

    def close(self) -> None:
        for one in (*self.dead, *self.lives.values()):
            one.store.close_files()
        self.operator.store.close_files()
        self.server.close()
        super().close()
