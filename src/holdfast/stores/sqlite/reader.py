"""Reading the log. Positions grow in the order of commits, so a window is a range of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.stores.sqlite.rows import row_of
from holdfast.stores.values import Cursor, Page

if TYPE_CHECKING:
    from holdfast.event import Row
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread


class SQLiteReader:
    """One session that reads."""

    def __init__(self, thread: SessionThread, *, shared: bool) -> None:
        self._thread, self._shared = thread, shared

    async def read(self, cursor: Cursor, *, horizon: str | None = None, limit: int, max_bytes: int) -> Page:
        return await self._thread.run(read, cursor, horizon, limit, max_bytes)

    async def horizon(self) -> str:
        return str((await self._thread.run(log_state))[0])

    async def generation(self) -> int:
        return (await self._thread.run(log_state))[1]

    async def close(self) -> None:
        if not self._shared:
            await self._thread.close()


def log_state(session: Session) -> tuple[int, int]:
    """Highest position ever given, and generation."""
    row = session.row("horizon")
    assert row is not None
    horizon, generation = row
    return horizon, generation


def read(session: Session, cursor: Cursor, horizon: str | None, limit: int, max_bytes: int) -> Page:
    with session.snapshot():
        highest, generation = log_state(session)
        end = int(cursor.open or horizon or highest)
        rows = _rows(session, max(cursor.position, int(cursor.done) + 1), end, limit, max_bytes)
    if rows is None:
        return Page([], Cursor(str(max(end, int(cursor.done)))), str(end), generation)
    read_all = len(rows) < limit and not _is_cut(rows, max_bytes)
    if read_all or rows[-1].position >= end:
        return Page(rows, Cursor(str(end)), str(end), generation)
    return Page(rows, Cursor(cursor.done, str(end), rows[-1].position + 1), str(end), generation)


def _rows(session: Session, first: int, last: int, limit: int, max_bytes: int) -> list[Row] | None:
    if first > last:
        return None
    rows: list[Row] = []
    size = 0
    for record in session.stream("read_window", first=first, last=last, limit=limit):
        row = row_of(*record)
        rows.append(row)
        size += _bytes(row)
        if size > max_bytes:
            break
    return rows


def _bytes(row: Row) -> int:
    return len(row.payload) + (0 if row.headers is None else len(row.headers))


def _is_cut(rows: list[Row], max_bytes: int) -> bool:
    return sum(map(_bytes, rows)) > max_bytes
