"""Reading the log: windows between snapshots. The rules, and what breaks without each: docs/engine.md."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreUnavailable
from holdfast.event import EPOCH, Row, rows_of
from holdfast.stores.values import Cursor, Page

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from holdfast.stores.postgres.session import Session
    from holdfast.stores.sql import Statements

_BEGINNING = "-infinity"
_FLOOR_SECONDS = 60.0
_SPANS_REMEMBERED = 1_000
_STRIDE_MAX = 64_000
_SNAPSHOT = re.compile(r"(\d+):(\d+):([\d,]*)")


def snapshot_xmin(snapshot: str) -> int:
    """The first transaction id that *snapshot* may not show."""
    match = _SNAPSHOT.fullmatch(snapshot)
    assert match is not None, snapshot
    return int(match.group(1))


def snapshot_order(snapshot: str) -> tuple[int, int]:
    """
    Sorts the snapshots of one server by what they show.

    They are taken one after the other, so each shows all that an earlier one did: where no transaction has ended that
    is later than the latest before, those that have ended since are no longer listed as running.
    """
    match = _SNAPSHOT.fullmatch(snapshot)
    assert match is not None, snapshot
    running = match.group(3)
    return int(match.group(2)), -len(running.split(",")) if running else 0


def next_stride(stride: int, found: int, limit: int) -> int:
    """
    In how many positions to look for the next page of a large window.

    Looked for in all that is left of it, the page costs what the whole window costs wherever the planner prefers to
    sort: with fresh statistics or without any. Twice as many after a page that is not half full, up to `_STRIDE_MAX`.
    """
    return min(2 * stride, max(limit, _STRIDE_MAX)) if 2 * found < limit else stride


class PostgresReader:
    """One session that reads. Whatever it took is void once that session, or the server's incarnation, changed."""

    def __init__(self, session: Session, statements: Statements) -> None:
        self._session, self._statements = session, statements
        self._incarnation: str | None = None
        self._void = False
        # The day floor holds for every "done" whose xmin is at least the one that it was computed for.
        self._floor, self._floor_xmin, self._floor_until = _BEGINNING, 0, 0.0
        self._unpruned_read = False
        self._stride = 0  # positions that a page of a large window is looked for in; 0: as many as it may have events
        self._spans: dict[tuple[str, str], tuple[int, int]] = {}
        self._today, self._stepped_back = 0, False  # the server's day, as it last said

    async def read(
        self, cursor: Cursor, *, horizon: str | None = None, before: int | None = None, without: Collection[str] = (),
        limit: int, max_bytes: int,
    ) -> Page:  # fmt: skip
        bounds: dict[str, Any] = {"done": cursor.done, "limit": limit, "max_bytes": max_bytes}
        page = await self._read(cursor, horizon, before, without, bounds)
        while self._stepped_back:  # rows may lie below the floor that was used: it is found anew
            self._stepped_back, self._floor_until = False, 0.0
            self._spans.clear()
            page = await self._read(cursor, horizon, before, without, bounds)
        return page

    async def _read(
        self, cursor: Cursor, horizon: str | None, before: int | None, without: Collection[str], bounds: dict[str, Any]
    ) -> Page:
        if cursor.open is not None:
            return await self._read_window(cursor, bounds, before, without)
        if horizon is not None:
            return await self._open_window(cursor, horizon, bounds)
        floor = await self._day_floor(cursor.done)
        rows = await self._run("read_new", bounds | {"floor": floor})
        header, events = self._check(rows), rows[1:]
        seen = header.tenant_id
        if header.slot > bounds["limit"] or header.slot > len(events):
            return await self._open_window(cursor, await self._nearest_snapshot(cursor.done, seen), bounds)
        return Page(rows_of(events), Cursor(seen), seen, int(header.key or 0), self._incarnation)

    async def horizon(self) -> str:
        ((snapshot, incarnation),) = await self._run("horizon")
        self._require_same(incarnation)
        return str(snapshot)

    async def generation(self) -> int:
        ((generation, incarnation),) = await self._run("generation")
        self._require_same(incarnation)
        return int(generation)

    async def close(self) -> None:
        await self._session.close()

    async def _nearest_snapshot(self, done: str, seen: str) -> str:
        # A laggard goes from stored snapshot to stored snapshot: small windows, and a lag in seconds.
        rows = await self._run("next_snapshot", {"done": done, "open": seen})
        return str(rows[0][0]) if rows else seen

    async def _open_window(self, cursor: Cursor, horizon: str, bounds: dict[str, Any]) -> Page:
        first, _ = await self._span(cursor.done, horizon)
        return await self._read_window(Cursor(cursor.done, horizon, first), bounds)

    async def _span(self, done: str, horizon: str) -> tuple[int, int]:
        """First and last position of a window; remembered while its pages are read."""
        window = done, horizon
        if window not in self._spans:
            place = {"done": done, "open": horizon, "floor": await self._day_floor(done)}
            ((first, last),) = await self._run("window_span", place)
            if len(self._spans) >= _SPANS_REMEMBERED:
                self._spans.clear()
            self._spans[window] = int(first), int(last)
        return self._spans[window]

    async def _read_window(
        self, cursor: Cursor, bounds: dict[str, Any], before: int | None = None, without: Collection[str] = ()
    ) -> Page:
        assert cursor.open is not None
        limit, (_, last) = bounds["limit"], await self._span(cursor.done, cursor.open)
        stride = _STRIDE_MAX if without else self._stride or limit
        reach = min(last, cursor.position + stride - 1)
        until = reach if before is None else min(reach, before - 1)
        floor = await self._day_floor(cursor.done)
        place = {"open": cursor.open, "position": cursor.position, "last": until, "floor": floor}
        rows = await self._run("read_window", {**bounds, **place, "without": list(without) or None})
        header, events = self._check(rows), rows_of(rows[1:])
        if header.slot == limit or header.slot > len(events):  # there may be more between these positions
            after, self._stride = Cursor(cursor.done, cursor.open, events[-1].position + 1), limit
        else:
            after = Cursor(cursor.open) if until >= last else Cursor(cursor.done, cursor.open, until + 1)
            if until == reach and not without:
                self._stride = next_stride(stride, len(events), limit)
        return Page(events, after, cursor.open, int(header.key or 0), self._incarnation)

    def _check(self, rows: list[tuple[Any, ...]]) -> Row:
        header = Row._make(rows[0])
        self._require_same(header.name)
        self._stepped_back |= header.day < self._today
        self._today = header.day
        if header.key is None:
            raise StoreUnavailable(
                "this read cannot be trusted, so its cursor stays: the server is in recovery, or row security hides "
                "rows of event_log from this role (alter role ... bypassrls)"
            )
        return header

    def _require_same(self, incarnation: str | None) -> None:
        if self._incarnation is None:
            self._incarnation = incarnation
        if incarnation is None or incarnation != self._incarnation:
            self._void = True
            raise StoreUnavailable("the server has crashed and come back: transaction ids are handed out again")

    async def _run(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        # Once anything failed, every horizon taken here may be another server's: the reader stays void.
        if self._void:
            raise StoreUnavailable("this reading session has ended; take a new one")
        try:
            return await self._session.run(self._statements[statement], parameters)
        except StoreUnavailable:
            self._void = True
            raise

    async def _day_floor(self, done: str) -> str:
        if not self._unpruned_read:
            self._unpruned_read = True  # the first read after a reload sees all days
            return _BEGINNING
        now, xmin = asyncio.get_running_loop().time(), snapshot_xmin(done)
        if now >= self._floor_until or xmin < self._floor_xmin:
            rows = await self._run("day_floor", {"done": done})
            days = rows[0][0] if rows else None
            self._floor = _BEGINNING if days is None else str((EPOCH + timedelta(days=days)).date())
            self._floor_xmin, self._floor_until = xmin, now + _FLOOR_SECONDS
        return self._floor
