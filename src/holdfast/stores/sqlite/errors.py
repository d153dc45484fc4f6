"""Errors of the driver become errors of Holdfast: here, by SQLite's result code, never by wording."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import (
    HoldfastError,
    InvalidEvent,
    PermissionDenied,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    WrongStore,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# Written out: Python knows their names only where the SQLite it was built with had them.
ERROR, PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR = 1, 3, 5, 6, 7, 8, 9, 10
CORRUPT = 11
FULL, CANTOPEN, PROTOCOL, TOOBIG, CONSTRAINT, MISMATCH, AUTH, NOTADB = 13, 14, 15, 18, 19, 20, 23, 26

_BUSY = {BUSY, LOCKED}
# Read-only counts as being away: it could be written when it was opened, and the mount may recover.
_AWAY = {NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL}
_REFUSED = {TOOBIG, CONSTRAINT, MISMATCH}
_BROKEN = {IOERR, CANTOPEN, PROTOCOL, NOTADB}
_ROLLS_BACK = {BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL}


def result_code(error: sqlite3.Error) -> int | None:
    """The primary result code of SQLite; None where Python's own module raised."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_broken(error: BaseException) -> bool:
    """Whether a new connection may do better than this one."""
    return isinstance(error, sqlite3.ProgrammingError) or (
        isinstance(error, sqlite3.Error) and result_code(error) in _BROKEN
    )


def is_damage(error: HoldfastError) -> bool:
    """Whether SQLite found the file itself malformed."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and result_code(cause) == CORRUPT


def may_roll_back(error: BaseException | None) -> bool:
    """Whether SQLite may have rolled back by itself: disk full, input or output failed, out of memory, busy."""
    return isinstance(error, sqlite3.Error) and result_code(error) in _ROLLS_BACK


def translate(error: sqlite3.Error, where: str) -> HoldfastError:
    """The error of Holdfast that stands for *error*, which happened at *where*."""
    code, name = result_code(error), getattr(error, "sqlite_errorname", None)
    if name == "SQLITE_BUSY_SNAPSHOT":
        return StoreBusy(f"{where} has read before another wrote: roll back, and begin with BEGIN IMMEDIATE", name)
    if code in _BUSY:
        return StoreBusy(f"{where} is locked by another writer: {error}", name)
    if code in _AWAY:
        return StoreUnavailable(f"{where} cannot be used now: {error}", name)
    if code in _REFUSED:
        return InvalidEvent("event", f"was refused by {where}: {error} [{name}]", "see the rules of the column")
    if code in {PERM, AUTH}:
        return PermissionDenied(f"{where}: {error}; file and folder must be writable for this user", name)
    if code == NOTADB:
        return WrongStore(f"{where} is not an SQLite database: give another path, or move that file away [{name}]")
    if code == CORRUPT:
        return StoreError(f"{where} is damaged: {error}; holdfast doctor says what can be done", name)
    if isinstance(error, sqlite3.ProgrammingError):
        return StoreUnavailable(f"{where}: {error}")
    if _tells_a_text(error):
        return StoreError(f"{where}: another program stored a text that is not UTF-8")
    return StoreError(f"{where}: {error}", name)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Errors of the driver inside leave as errors of Holdfast."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, where) from (None if _tells_a_text(error) else error)


def _tells_a_text(error: sqlite3.Error) -> bool:
    """Whether Python could not decode a text: its error shows the text, which may be a payload."""
    return result_code(error) is None and isinstance(error, sqlite3.OperationalError)
