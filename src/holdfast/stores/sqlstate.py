"""What an SQLSTATE means to Holdfast, whichever driver reports it. Decided by the code, never by wording."""

from __future__ import annotations

from holdfast.errors import HoldfastError, InvalidEvent, PermissionDenied, StoreBusy, StoreError, StoreUnavailable

NO_TABLES = frozenset({"42P01", "3F000", "42883", "42703"})
"""Table, schema, function or column missing: the tables of Holdfast are not there, or are of another version."""

# Integrity and data errors: the driver's text goes on with a DETAIL that has the row, payload included.
_TELLS_THE_ROW = ("22", "23")

# Classes and codes after which the same call may well succeed later: connection, resources, operator
# intervention, read-only, lock not available, serialization, deadlock, statement cancelled by a timeout.
_AWAY = ("08", "53", "57", "58", "XX", "F0")
_AWAY_CODES = frozenset({"25006", "25P03", "25P04"})
_BUSY_CODES = frozenset({"55P03", "40001", "40P01"})


def cause(error: Exception, code: str | None) -> Exception | None:
    """What to raise ``from``: the driver's *error*, unless a traceback that shows it would show the row."""
    return None if code is not None and code.startswith(_TELLS_THE_ROW) else error


def from_sqlstate(code: str | None, message: str, where: str) -> HoldfastError:
    """The error that stands for *code*, which happened at *where*. None: the driver itself lost the connection.

    What `NO_TABLES` means depends on whose connection it is, so the caller looks at it before.
    """
    if code in _BUSY_CODES:
        return StoreBusy(f"{where}: {message}", code)
    if code is None or code.startswith(_AWAY) or code in _AWAY_CODES:
        lost = code is None or code.startswith(("08", "57"))
        return StoreUnavailable(f"{where} cannot be used now: {message}", code, maybe_done=lost)
    if code == "42501":
        return PermissionDenied(f"{where}: {message}; grant the role what it lacks (holdfast doctor lists it)", code)
    if code.startswith(_TELLS_THE_ROW):
        return InvalidEvent("event", f"was refused by {where}: {message} [{code}]", "see the rules of the column")
    return StoreError(f"{where}: {message}", code)
