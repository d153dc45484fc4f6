"""Somebody at the command line: the store's own operator, as the blows ask for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.errors import NotFound, StoreUnavailable
from holdfast.stores.filters import DeadFilter, ReplayFilter
from holdfast.stores.sqlite.inspecting import SQLiteInspector
from holdfast.stores.sqlite.operating import SQLiteOperator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from tests.simulation.embedded.store import FileStore

_AGAIN = 0.2


class Operator:
    """Acts without faults, from no process, until it is done; what is not registered yet is left alone."""

    def __init__(self, store: FileStore) -> None:
        self.store = store
        self._operator = SQLiteOperator(store, SQLiteInspector(store))

    async def pause(self, name: str, *, paused: bool, tenant_id: str | None = None) -> None:
        act = self._operator.pause if paused else self._operator.resume
        await self._persistently(partial(act, name, actor="simulation", tenant_id=tenant_id))

    async def retry_dead(self, name: str) -> None:
        dead = DeadFilter(subscription=name)
        await self._persistently(partial(self._operator.retry_dead, dead, actor="simulation"))

    async def replay(self, name: str, ids: Collection[bytes]) -> None:
        for only in (UUID(bytes=event_id) for event_id in ids):
            asked = ReplayFilter(first_id=only, last_id=only)
            await self._persistently(partial(self._operator.replay, name, asked, actor="simulation"))

    async def _persistently(self, act: Callable[[], Awaitable[Any]]) -> None:
        """A handler may keep the file to itself for longer than anybody waits."""
        while True:
            try:
                await self.store.open()
                with suppress(NotFound):
                    await act()
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN)
            else:
                return
