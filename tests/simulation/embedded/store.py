"""The real SQLite store of a simulated process: only its threads, its clock and its listening are virtual."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from holdfast.stores.sql import Statements
from holdfast.stores.sqlite.store import SQLiteStore
from tests.simulation.embedded.threads import VirtualThread, VirtualTurn

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from datetime import datetime

    from tests.simulation.weather import Sky

_LOOK_SECONDS = 0.04
_STATEMENTS = Statements("holdfast.stores.sqlite", None)  # read once for all processes of all runs


class FileStore(SQLiteStore):
    """Its connections wait for no lock; jobs that meet one run again in virtual time."""

    def __init__(self, path: str, clock: Callable[[], datetime], sky: Sky) -> None:
        super().__init__(path, clock=clock, timeout=0.0, thread=partial(VirtualThread, sky=sky), turn=VirtualTurn)
        self._statements = _STATEMENTS
        self._opened: list[sqlite3.Connection] = []

    def _connect(self, *, create: bool = False) -> sqlite3.Connection:
        connection = super()._connect(create=create)
        connection.execute("pragma synchronous = off")  # no run cuts the power, and the disk is memory
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
