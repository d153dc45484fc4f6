"""Noticing that another connection has committed: ``PRAGMA data_version``, watched in a thread."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

from holdfast.stores.sqlite.threads import OneThread, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_PAUSE = 0.002
LONGEST_PAUSE = 0.04
_AFTER_ERROR = 1.0


async def listen(connect: Callable[[], sqlite3.Connection], wake: Callable[[], None], stop: Stop) -> None:
    """Call *wake* in this loop after each commit of others, until cancelled or *stop* is set."""
    loop = asyncio.get_running_loop()
    thread = OneThread("holdfast-sqlite-listen")

    def changed() -> None:
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the loop has been closed
            stop.set()

    watching = asyncio.wrap_future(thread.submit(watch, connect, changed, stop))
    try:
        await asyncio.shield(watching)
    finally:
        stop.set()
        thread.close()
        # A process that ends before its connection is closed would leave the write-ahead log beside the file.
        await asyncio.wait([watching])


def watch(connect: Callable[[], sqlite3.Connection], changed: Callable[[], None], stop: Stop) -> None:
    """
    Compare the version again and again: every 2 ms while events flow, every 40 ms when idle.

    The connection is in autocommit and does nothing else, for inside a transaction the version stands still.
    """
    connection: sqlite3.Connection | None = None
    seen, pause = None, SHORTEST_PAUSE
    try:
        while not stop.wait(pause):
            try:
                if connection is None:
                    connection, seen = connect(), None
                (version,) = connection.execute("pragma data_version").fetchone()
            except sqlite3.Error:
                if connection is not None:
                    connection.close()
                connection, pause = None, _AFTER_ERROR
                continue
            if version == seen:
                pause = min(pause * 1.5, LONGEST_PAUSE)
                continue
            # Also at the first look: what was committed while nobody listened counts.
            seen, pause = version, SHORTEST_PAUSE
            changed()
    finally:
        if connection is not None:
            connection.close()
