"""The real SQLite store of a simulated process: only its threads, its connections, its clock and its listening are ours."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from holdfast.stores.sql import Statements
from holdfast.stores.sqlite.store import SQLiteStore
from tests.simulation.embedded.connection import Fuse, connect
from tests.simulation.embedded.threads import VirtualThread, VirtualTurn
from tests.simulation.loop import PROCESS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from holdfast.event import Row
    from holdfast.stores.base import Reader
    from holdfast.stores.values import Cursor, Due, Page, Settlement, Slice
    from tests.simulation.embedded.witness import Witness
    from tests.simulation.weather import Sky

_LOOK_SECONDS = 0.04
_STATEMENTS = Statements("holdfast.stores.sqlite", None)  # read once for all processes of all runs


@dataclass(frozen=True, slots=True)
class File:
    """The file that all share, and how they fare with it."""

    path: str
    clock: Callable[[], datetime]
    sky: Sky
    fuse: Fuse
    witness: Witness
    trace: Callable[..., None]


class FileStore(SQLiteStore):
    """
    Its connections wait for no lock; jobs that meet one run again in virtual time.

    Args:
        page_events: Most events of a page, however many are asked for.
    """

    def __init__(self, file: File, *, page_events: int = 10**9) -> None:
        self._file, self._page_events = file, page_events
        super().__init__(
            file.path, clock=file.clock, timeout=0.0, thread=partial(VirtualThread, file=file), turn=VirtualTurn
        )
        self._statements = _STATEMENTS
        self._opened: list[sqlite3.Connection] = []

    def _connect(self, *, create: bool = False) -> sqlite3.Connection:
        del create  # it is there
        connection = connect(self._file.path, self._file.witness, self._file.fuse)
        self._opened.append(connection)
        return connection

    def close_files(self) -> None:
        """As the kernel does for a dead process: what was under way is rolled back."""
        for connection in self._opened:
            connection.close()

    async def listen(self, wake: Callable[[], None]) -> None:
        seen, connection = None, self._connect()
        try:
            while True:
                (version,) = connection.execute("pragma data_version").fetchone()
                if version != seen:
                    seen = version
                    wake()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            connection.close()

    async def reader(self) -> Reader:
        return ShortPages(await super().reader(), self._page_events, self._file.witness)

    # What leaves no trace in the file

    async def settle(self, settlement: Settlement) -> set[Slice]:
        lost = await super().settle(settlement)
        if lost:
            self._file.witness.note("fenced", lost)
        return lost

    async def take_in(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> list[Due]:
        taken = await super().take_in(lease, epoch, rows)
        self._file.witness.note("taken in", lease)
        return taken


class ShortPages:
    """A reader whose windows are paged in short runs."""

    def __init__(self, reader: Reader, page_events: int, witness: Witness) -> None:
        self._reader, self._page_events, self._note = reader, page_events, witness.note
        self.horizon, self.generation, self.close = reader.horizon, reader.generation, reader.close

    async def read(
        self, cursor: Cursor, *, horizon: str | None = None, before: int | None = None, without: Collection[str] = (),
        limit: int, max_bytes: int,
    ) -> Page:  # fmt: skip
        limit, process = min(limit, self._page_events), PROCESS.get()
        page = await self._reader.read(
            cursor, horizon=horizon, before=before, without=without, limit=limit, max_bytes=max_bytes
        )
        if page.cursor.open is not None:
            self._note("page", page.cursor)
        if page.rows and process is not None and process.busy:
            self._note("read ahead", page.cursor)
        return page
