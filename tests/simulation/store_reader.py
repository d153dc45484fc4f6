"""Reading the simulated log: windows between snapshots, as `holdfast.stores.postgres.reader` opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import StoreUnavailable
from holdfast.stores.values import Cursor, Page
from tests.simulation.snapshots import snapshot
from tests.simulation.wire import at_once

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    from holdfast.event import Row
    from tests.simulation.server import Server
    from tests.simulation.tables import LoggedEvent
    from tests.simulation.wire import Pause, Wire


T = TypeVar("T")


class SimulatedReader:
    """One session. Void for ever once it was cut, or the server is another one than it was."""

    def __init__(self, server: Server, wire: Wire, page_events: int) -> None:
        self._server, self._wire, self._page_events = server, wire, page_events
        self._session = wire.opened()
        self._incarnation: int | None = None
        self._void = False

    async def read(
        self, cursor: Cursor, *, horizon: str | None = None, before: int | None = None, without: Collection[str] = (),
        limit: int, max_bytes: int,
    ) -> Page:  # fmt: skip
        limit = min(limit, self._page_events)
        return await self._run("read", at_once(self._read, cursor, horizon, before, without, limit, max_bytes))

    async def horizon(self) -> str:
        return await self._run("horizon", at_once(self._horizon))

    async def generation(self) -> int:
        return await self._run("generation", at_once(self._generation))

    async def close(self) -> None:
        self._void = True

    async def _run(self, name: str, steps: Generator[Pause, None, T]) -> T:
        if self._void or self._wire.is_cut(self._session):
            self._void = True
            raise StoreUnavailable("this reading session has ended; take a new one")
        try:
            return await self._wire.call(name, steps)
        except StoreUnavailable:
            self._void = True
            raise

    def _horizon(self) -> str:
        self._require_same()
        return self._server.snapshot()

    def _generation(self) -> int:
        self._require_same()
        return self._server.tables.generation

    def _require_same(self) -> None:
        incarnation = self._server.incarnation
        if self._incarnation is None:
            self._incarnation = incarnation
        if incarnation is None or incarnation != self._incarnation:
            self._void = True
            raise StoreUnavailable("the server has crashed and come back: transaction ids are handed out again")

    def _read(
        self, cursor: Cursor, horizon: str | None, before: int | None, without: Collection[str], limit: int,
        max_bytes: int,
    ) -> Page:  # fmt: skip
        self._require_same()
        if cursor.open is not None:
            return self._page(cursor, limit, max_bytes, before, without)
        if horizon is None:
            seen = self._server.snapshot()
            found = self._visible(cursor.done, seen)
            if len(found) <= limit and sum(map(_bytes, found)) - (_bytes(found[-1]) if found else 0) <= max_bytes:
                return self._as_page(found, Cursor(seen), seen)
            horizon = self._nearest_snapshot(cursor.done, seen)
        lowest = min((row.position for row in self._visible(cursor.done, horizon)), default=0)
        return self._page(Cursor(cursor.done, horizon, lowest), limit, max_bytes)

    def _page(
        self, cursor: Cursor, limit: int, max_bytes: int, before: int | None = None, without: Collection[str] = ()
    ) -> Page:
        """The next page of an open window."""
        assert cursor.open is not None
        window = [
            row
            for row in self._visible(cursor.done, cursor.open)
            if row.position >= cursor.position and row.tenant_id not in without
        ]
        rest = window if before is None else [row for row in window if row.position < before]
        rows: list[Row] = []
        for row in rest[:limit]:
            rows.append(row)
            max_bytes -= _bytes(row)
            if max_bytes < 0:
                break
        is_whole = len(rows) == len(rest) and len(rest) < limit
        if is_whole and len(rest) == len(window):
            after = Cursor(cursor.open)
        else:
            self._server.note("page", cursor)
            reached = before if is_whole and before is not None else rows[-1].position + 1
            after = Cursor(cursor.done, cursor.open, reached)
        return self._as_page(rows, after, cursor.open)

    def _as_page(self, rows: Sequence[Row], cursor: Cursor, horizon: str) -> Page:
        if rows and getattr(self._wire.client, "busy", None):
            self._server.note("read ahead", cursor)
        return Page(rows, cursor, horizon, self._server.tables.generation, str(self._incarnation))

    def _visible(self, done: str, seen: str) -> list[Row]:
        """The window in the order of positions."""
        return sorted(entry.row for entry in self._readable(done, seen))

    def _readable(self, done: str, seen: str) -> Sequence[LoggedEvent]:
        return list(self._server.window(snapshot(done), snapshot(seen)))

    def _nearest_snapshot(self, done: str, seen: str) -> str:
        """A laggard goes from stored snapshot to stored snapshot."""
        low, high = snapshot(done).xmax, snapshot(seen).xmax
        stored = (one.snapshot for one in self._server.tables.snapshots)
        return min((one for one in stored if low < snapshot(one).xmax <= high), key=_xmax, default=seen)


def _xmax(text: str) -> int:
    return snapshot(text).xmax


def _bytes(row: Row) -> int:
    return len(row.payload)
