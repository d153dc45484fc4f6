"""What a reader of the tables sees."""

from __future__ import annotations

import sqlite3
import time
from typing import Any
from uuid import UUID

from holdfast.stores.sqlite.files import path_of

_PATIENCE = 10.0
_PAUSE = 0.0005
_FIRST = UUID(int=0)
_CONNECTED = """select count(*) from pg_stat_activity
    where datname = current_database() and application_name like 'holdfast %'"""


def make_looker(dsn: str) -> Looker:
    """Connects to the store of *dsn*."""
    if dsn.startswith("sqlite"):
        return Looker(sqlite3.connect(path_of(dsn) or "", check_same_thread=False), "")
    import psycopg

    return Looker(psycopg.connect(dsn, autocommit=True), "holdfast.")


class Looker:
    """
    Looks at the outcome as any SQL reader can, on a connection of its own.

    Args:
        connection: Of either driver; from any thread, by one at a time.
        schema: Of the tables, with its dot.
    """

    def __init__(self, connection: Any, schema: str) -> None:
        self._connection, self._schema = connection, schema

    def ask(self, question: str) -> int:
        """The only number of the answer."""
        return int(self._connection.execute(question).fetchone()[0])

    def first_of_last(self, events: int) -> UUID:
        """The id of the first of the last so many events; those were published by one process, so their ids ascend."""
        last = f"select id from {self._schema}event_log order by position desc limit 1 offset {events - 1}"
        return UUID(str(self._connection.execute(last).fetchone()[0]))

    def wait_for_receipts(self, events: int, since: UUID = _FIRST) -> tuple[int, float]:
        """How many receipts events from *since* on have, and when the question was asked whose answer was "all"."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            asked = time.perf_counter()
            found = self.ask(f"select count(*) from {self._schema}event_consumers where event_id >= '{since}'")
            if found >= events or time.monotonic() > deadline:
                return found, asked
            time.sleep(_PAUSE)

    def wait_until_alone(self) -> None:
        """Wait until no process of Holdfast is connected: then its statistics are written. PostgreSQL only."""
        while self.ask(_CONNECTED):
            time.sleep(_PAUSE)

    def close(self) -> None:
        self._connection.close()
