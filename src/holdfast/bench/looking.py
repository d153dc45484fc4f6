"""What a reader of the tables sees."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from holdfast.bench.workload import SUBSCRIPTION
from holdfast.stores.sqlite.files import path_of

_PATIENCE = 10.0
_PAUSE = 0.0005


def make_looker(dsn: str) -> Looker:
    """Connects to the store of *dsn*."""
    if dsn.startswith("sqlite"):
        return Looker(sqlite3.connect(path_of(dsn) or "", check_same_thread=False), "event_consumers")
    import psycopg

    return Looker(psycopg.connect(dsn, autocommit=True), "holdfast.event_consumers")


class Looker:
    """
    Looks at the outcome as any SQL reader can, on a connection of its own.

    Args:
        connection: Of either driver; from any thread, by one at a time.
        consumers: The view of the receipts.
    """

    def __init__(self, connection: Any, consumers: str) -> None:
        self._connection, self._consumers = connection, consumers

    def ask(self, question: str) -> int:
        return int(self._connection.execute(question).fetchone()[0])

    def wait_for_receipts(self, events: int) -> tuple[int, float]:
        """How many receipts there are, and when the question was asked whose answer was "all"."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            asked = time.perf_counter()
            found = self.ask(f"select count(*) from {self._consumers} where consumer_name = '{SUBSCRIPTION}'")
            if found >= events or time.monotonic() > deadline:
                return found, asked
            time.sleep(_PAUSE)

    def close(self) -> None:
        self._connection.close()
