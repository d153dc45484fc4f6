"""Reading the log. Positions grow in the order of commits, so a window is a range of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.stores.sqlite.rows import row_of
from holdfast.stores.values import Cursor, Page

if TYPE_CHECKING:
    from collections.abc import Collection

    from holdfast.event import Row
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread


class SQLiteReader:
    """One session that reads."""

    def __init__(self, thread: SessionThread, *, shared: bool) -> None:
        self._thread, self._shared = thread, shared

    async def read(
        self, cursor: Cursor, *, horizon: str | None = None, before: int | None = None, limit: int, max_bytes: int
    ) -> Page:
        return await self._thread.run(read, cursor, horizon, before, limit, max_bytes)

    def latest(self, places: Collection[str]) -> str:
        return max(places, key=int)

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


def read(session: Session, cursor: Cursor, horizon: str | None, before: int | None, limit: int, max_bytes: int) -> Page:
    with session.snapshot():
        highest, generation = log_state(session)
        end = int(cursor.open or horizon or highest)
        last = end if before is None else min(end, before - 1)
        rows = _rows(session, max(cursor.position, int(cursor.done) + 1), last, limit, max_bytes)
    if rows is None:
        return Page([], Cursor(str(max(end, int(cursor.done)))), str(end), generation)
    read_all = len(rows) < limit and not _is_cut(rows, max_bytes)
    reached = last if read_all else rows[-1].position
    after = Cursor(str(end)) if reached >= end else Cursor(cursor.done, str(end), reached + 1)
    return Page(rows, after, str(end), generation)


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
