"""How the SQLite store hears of other connections' commits, and lets go again."""

from __future__ import annotations

import asyncio
import sqlite3
from threading import Event

from holdfast.stores.sqlite.listening import listen
from holdfast.stores.sqlite.threads import Stop


async def test_it_ends_when_its_connection_is_closed_and_no_sooner(tmp_path):
    """A process that ends with a connection open leaves the write-ahead log beside the file."""
    heard, closing, may_close = asyncio.Event(), Event(), Event()

    class Connection(sqlite3.Connection):
        def close(self) -> None:
            closing.set()
            assert may_close.wait(30)
            super().close()

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "h.db", factory=Connection, check_same_thread=False)

    listening = asyncio.create_task(listen(connect, heard.set, Stop()))
    await heard.wait()
    listening.cancel()
    assert await asyncio.to_thread(closing.wait, 30)
    assert not listening.done()
    may_close.set()
    await asyncio.wait([listening])
    assert listening.cancelled()
