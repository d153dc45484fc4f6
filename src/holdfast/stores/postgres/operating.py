"""Acting on the PostgreSQL store: the shared actions, each in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.stores.operating import Operating, Result
from holdfast.stores.records import Retention

if TYPE_CHECKING:
    from holdfast.stores.operating import Action
    from holdfast.stores.postgres.inspecting import PostgresInspector
    from holdfast.stores.postgres.store import PostgresStore


class PostgresOperator(Operating):
    """See `holdfast.stores.inspector.Operator`."""

    def __init__(self, store: PostgresStore, inspector: PostgresInspector) -> None:
        super().__init__(inspector)
        self._store, self._looking = store, inspector
        self._statements = store._statements  # noqa: SLF001 - a part of the store

    async def perform(self, action: Action[Result]) -> Result:
        await self._looking.require_version()
        async with self._looking.session.transaction() as connection:
            try:
                statement, parameters = next(action)
                while True:
                    cursor = await connection.execute(self._statements[statement], parameters, binary=True)
                    rows = await cursor.fetchall() if cursor.description else []
                    statement, parameters = action.send(rows)
            except StopIteration as finished:
                outcome: Result = finished.value
        return outcome

    async def drop_old(self, seconds: float) -> Retention:
        before = await self._looking.retention_preview(seconds)
        done = await self._store.maintain(retention=seconds)
        return Retention(done.dropped, max(0, before.droppable + before.kept - done.dropped), done.blocking)
