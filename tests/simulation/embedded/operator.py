"""Somebody at the command line: the store's own operator, as the blows ask for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import NotFound
from holdfast.stores.records import DeadFilter
from holdfast.stores.sqlite.inspecting import SQLiteInspector
from holdfast.stores.sqlite.operating import SQLiteOperator

if TYPE_CHECKING:
    from tests.simulation.embedded.store import FileStore


class Operator:
    """Acts without faults, from no process; what is not registered yet is left alone."""

    def __init__(self, store: FileStore) -> None:
        self.store = store
        self._operator = SQLiteOperator(store, SQLiteInspector(store))

    async def pause(self, name: str, *, paused: bool) -> None:
        await self.store.open()
        act = self._operator.pause if paused else self._operator.resume
        with suppress(NotFound):
            await act(name, actor="simulation")

    async def retry_dead(self, name: str) -> None:
        await self.store.open()
        with suppress(NotFound):
            await self._operator.retry_dead(DeadFilter(subscription=name), actor="simulation")
