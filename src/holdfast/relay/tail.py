"""The end of the log, read by one session for all who follow it, who pull: nothing is kept for a slow one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError, StoreUnavailable
from holdfast.relay.place import Place
from holdfast.stores import make_store
from holdfast.stores.values import Cursor

if TYPE_CHECKING:
    from holdfast.stores.base import Reader
    from holdfast.stores.values import Page

PAGE_EVENTS = 200
PAGE_BYTES = 2**20

_PAGES_MAX = 64
_PAGES_BYTES_MAX = 16 * 2**20


class Tail:
    """
    Reads on from any place, and remembers the last pages, so that many who follow cost the store as much as one.

    Whoever is behind reads up to where the others are, and goes on with them.

    Args:
        dsn, schema: The store, opened at the first read, on connections of its own.
        poll_interval: How long nothing is asked again where nothing was new, seconds.

    Raises:
        ConfigurationError: The store lives in the memory of a bus.
    """

    def __init__(self, dsn: str, schema: str, *, poll_interval: float) -> None:
        self._store = make_store(dsn, schema=schema, timeout=10.0)
        if not self._store.is_durable:
            raise ConfigurationError("a store in memory has no feed: use a file, or PostgreSQL")
        self._poll_interval = poll_interval
        self._reading = asyncio.Lock()
        self._reader: Reader | None = None
        self._head: Cursor | None = None
        self._pages: OrderedDict[Cursor, Page] = OrderedDict()
        self._bytes = 0
        self._quiet: tuple[Cursor, Page, float] | None = None

    def knows(self, place: Place) -> bool:
        """Whether a place can be one of this kind of store."""
        return place.is_snapshot == self._store.is_remote

    async def now(self) -> Place:
        """
        Behind everything that can be seen now.

        Raises:
            StoreUnavailable, SchemaMismatch, WrongStore, PermissionDenied, MissingExtra
        """
        async with self._reading:
            reader = await self._session()
            try:
                cursor = Cursor(await reader.horizon())
                page = await reader.read(cursor, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES)
            except StoreUnavailable:
                await self._drop()
                raise
            self._remember(cursor, page)
            self._head = page.cursor
            return Place(cursor, page.incarnation)

    async def read(self, place: Place) -> Page:
        """
        The page behind *place*; one that ends there where nothing is new. Never waits for events.

        Where the server has crashed since (`Place.is_of`) what the page has is not what follows.

        Raises:
            As `now`. What was read before stays good: go on from there.
        """
        cursor = place.cursor
        async with self._reading:
            if (known := self._known(cursor)) is not None:
                return known
            reader = await self._session()
            horizon = None
            if self._head is not None and cursor.open is None and self._head.done != cursor.done:
                ahead = self._store.latest([cursor.done, self._head.done]) == self._head.done
                horizon = self._head.done if ahead else None
            try:
                page = await reader.read(cursor, horizon=horizon, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES)
            except StoreUnavailable:
                await self._drop()
                raise
            if self._head is None or cursor == self._head:
                self._head = page.cursor
            if place.is_of(page):  # the server hands out those ids again: the same cursor is another place then
                self._remember(cursor, page)
            return page

    async def part(self, cursor: Cursor, now: Place) -> Page:
        """
        A page of the window between *cursor* and *now*, remembered for nobody.

        Raises:
            As `now`; StoreUnavailable also where the server has crashed since *now*.
        """
        async with self._reading:
            reader = await self._session()
            horizon = None if cursor.open is not None else now.cursor.done
            try:
                page = await reader.read(cursor, horizon=horizon, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES)
            except StoreUnavailable:
                await self._drop()
                raise
            if page.incarnation != now.incarnation:
                raise StoreUnavailable("the server has crashed once more")
            return page

    async def close(self) -> None:
        """Close the connections; the next read opens them again."""
        async with self._reading:
            await self._drop()
            await self._store.close()

    def _known(self, cursor: Cursor) -> Page | None:
        now = asyncio.get_running_loop().time()
        if self._quiet is not None and self._quiet[0] == cursor and now < self._quiet[2]:
            return self._quiet[1]
        return self._pages.get(cursor)

    def _remember(self, cursor: Cursor, page: Page) -> None:
        if page.cursor == cursor:
            self._quiet = cursor, page, asyncio.get_running_loop().time() + self._poll_interval
            return
        self._pages[cursor] = page
        self._bytes += _size(page)
        while len(self._pages) > _PAGES_MAX or self._bytes > _PAGES_BYTES_MAX:
            _, oldest = self._pages.popitem(last=False)
            self._bytes -= _size(oldest)

    async def _session(self) -> Reader:
        if self._reader is None:
            await self._store.open()
            self._reader = await self._store.reader()
        return self._reader

    async def _drop(self) -> None:
        """Another session has other horizons."""
        reader, self._reader = self._reader, None
        self._head = self._quiet = None
        self._pages.clear()
        self._bytes = 0
        if reader is not None:
            await reader.close()


def _size(page: Page) -> int:
    return sum(row.size for row in page.rows)
