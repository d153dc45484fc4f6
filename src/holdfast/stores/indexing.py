"""Search indexes: built while everything goes on, and dropped. What the commands are is each store's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from holdfast.errors import BusStateError, NotFound
from holdfast.stores.refusing import Refusing, count_in_audit, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.stores.refusing import Rows


class Indexing(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that builds and drops search indexes."""

    @abstractmethod
    async def commands(self, texts: Rows, progress: Callable[[int], None] | None = None) -> None:
        """Carry out commands that change the schema, (text, is long) each; a long one in no transaction."""

    async def add_index(self, name: str, *, actor: str, progress: Callable[[int], None] | None = None) -> bool:
        async with self.refusals(actor, "index add", name):
            definition, ready, building = await self._index(name)
            if building:
                raise BusStateError(f"an index of the log is being built already; add {name!r} when it is done")
            if ready:
                return False
            audit = await self.perform(record(actor, "index add", name, count=0))
            texts = await self._inspector.rows("index_commands", name=name, definition=definition)
            await self.commands(texts, progress)
            await self.perform(count_in_audit(audit, 1))
        return True

    async def drop_index(self, name: str, *, actor: str) -> None:
        async with self.refusals(actor, "index drop", name):
            await self._index(name)
            await self.perform(record(actor, "index drop", name))
            await self.commands(await self._inspector.rows("drop_index_command", name=name))

    async def _index(self, name: str) -> tuple[str, bool, bool]:
        """Definition, whether it is ready, whether one is being built."""
        found: dict[str, Any] = {row[0]: row[1:] for row in await self._inspector.rows("search_indexes")}
        if name not in found:
            raise NotFound(f"no search index is called {name!r}: there are {', '.join(found)}")
        definition, ready, _, _, building = found[name]
        return definition, bool(ready), bool(building)
