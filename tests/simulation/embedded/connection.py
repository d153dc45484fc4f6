"""The connections of a run to its file: the witness sees what they commit, and statements fail when the weather says."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.stores.sqlite.errors import FULL, IOERR
from tests.simulation.embedded.witness import TRIGGERS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from tests.simulation.embedded.witness import Seen, Witness

_STATEMENTS_MOST = 6
_FAILURES = {IOERR: "SQLITE_IOERR", FULL: "SQLITE_FULL"}


class Fuse:
    """Lit, it makes one of the next statements fail, whoever's it is. A job is one step: it is its own."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._left: int | None = None

    def light(self) -> None:
        self._left = int(_STATEMENTS_MOST * self._random.random())

    def put_out(self) -> None:
        self._left = None

    def burn(self, connection: FileConnection, sql: str) -> None:
        """
        Raises:
            sqlite3.OperationalError: The disk is full, or fails; SQLite may have rolled back, or not.
        """
        if self._left is None or sql == "rollback":  # which writes nothing
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            code = self._random.choice(tuple(_FAILURES))
            if self._random.random() < 0.5:
                connection.give_up()
            raise _failure(code)


class FileConnection(sqlite3.Connection):
    """What it changes becomes known to the witness when it commits."""

    witness: Witness
    fuse: Fuse
    seen: Seen

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self.fuse.burn(self, sql)
        cursor = super().execute(sql, parameters)
        self._left(sql)
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        self.fuse.burn(self, sql)
        cursor = super().executemany(sql, parameters)
        self._left(sql)
        return cursor

    def give_up(self) -> None:
        """Roll back what is open, as SQLite does by itself."""
        if self.in_transaction:
            super().execute("rollback")
        self.seen.clear()

    def _left(self, sql: str) -> None:
        if not self.in_transaction:
            if sql != "rollback":
                self.witness.committed(self.seen)
            self.seen.clear()


def connect(path: str, witness: Witness, fuse: Fuse) -> FileConnection:
    """A connection with the store's settings that waits for no lock, nor for the disk: no run cuts the power."""
    connection = sqlite3.connect(
        f"{Path(path).as_uri()}?mode=rwc", uri=True, timeout=0.0, isolation_level=None, cached_statements=256,
        factory=FileConnection,
    )  # fmt: skip
    plain = partial(sqlite3.Connection.execute, connection)
    plain("pragma foreign_keys = on")
    plain("pragma synchronous = off")
    connection.witness, connection.fuse, connection.seen = witness, fuse, []
    connection.create_function("saw", -1, partial(witness.saw, connection.seen))
    for number, trigger in enumerate(TRIGGERS):
        plain(f"create temp trigger sees_{number} {trigger}")
    return connection


def _failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"simulated: {_FAILURES[code]}")
    error.sqlite_errorcode, error.sqlite_errorname = code, _FAILURES[code]
    return error
