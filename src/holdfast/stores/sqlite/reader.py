"""Reading the log. Positions grow in the order of commits, so a window is a range of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.stores.sqlite.rows import json_text, row_of
from holdfast.stores.values import Cursor, Page

if TYPE_CHECKING:
    from collections.abc import Collection

    from holdfast.event import Row
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread


REACH = 64_000
"""Positions that a page looks at where many events are left out."""


class SQLiteReader:
    """One session that reads."""

    def __init__(self, thread: SessionThread, *, shared: bool) -> None:
        self._thread, self._shared = thread, shared

    async def read(
        self, cursor: Cursor, *, horizon: str | None = None, before: int | None = None, without: Collection[str] = (),
        limit: int, max_bytes: int,
    ) -> Page:  # fmt: skip
        return await self._thread.run(read, cursor, horizon, before, without, limit, max_bytes)

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


def read(
    session: Session, cursor: Cursor, horizon: str | None, before: int | None, without: Collection[str], limit: int,
    max_bytes: int,
) -> Page:  # fmt: skip
    with session.snapshot():
        highest, generation = log_state(session)
        end = int(cursor.open or horizon or highest)
        last = end if before is None else min(end, before - 1)
        first = max(cursor.position, int(cursor.done) + 1)
        if without and cursor.open is not None:
            last = min(last, first + REACH - 1)
        rows = _rows(session, first, last, () if cursor.open is None else without, limit, max_bytes)
    if rows is None:
        return Page([], Cursor(str(max(end, int(cursor.done)))), str(end), generation)
    read_all = len(rows) < limit and not _is_cut(rows, max_bytes)
    reached = last if read_all else rows[-1].position
    after = Cursor(str(end)) if reached >= end else Cursor(cursor.done, str(end), reached + 1)
    return Page(rows, after, str(end), generation)


def _rows(
    session: Session, first: int, last: int, without: Collection[str], limit: int, max_bytes: int
) -> list[Row] | None:
    if first > last:
        return None
    rows: list[Row] = []
    size = 0
    tenants = json_text(list(without)) if without else None
    for record in session.stream("read_window", first=first, last=last, without=tenants, limit=limit):
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
