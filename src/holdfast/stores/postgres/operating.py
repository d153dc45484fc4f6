"""Acting on the PostgreSQL store: the shared actions, each in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.stores.operating import Operating, Result, raise_refusal, record
from holdfast.stores.records import Restored

if TYPE_CHECKING:
    from holdfast.stores.operating import Action
    from holdfast.stores.postgres.inspecting import PostgresInspector
    from holdfast.stores.postgres.session import Session
    from holdfast.stores.postgres.store import PostgresStore

_RESTORE_SECONDS = 86_400.0


class PostgresOperator(Operating):
    """See `holdfast.stores.inspector.Operator`."""

    def __init__(self, store: PostgresStore, inspector: PostgresInspector) -> None:
        super().__init__(store, inspector)
        self._postgres, self._looking = store, inspector
        self._statements = store._statements  # noqa: SLF001 - a part of the store

    async def perform(self, action: Action[Result]) -> Result:
        return await self._perform(self._looking.session, action)

    async def _perform(self, session: Session, action: Action[Result]) -> Result:
        await self._looking.require_version()
        async with session.transaction() as connection:
            try:
                statement, parameters = next(action)
                while True:
                    cursor = await connection.execute(self._statements[statement], parameters, binary=True)
                    rows = await cursor.fetchall() if cursor.description else []
                    statement, parameters = action.send(rows)
            except StopIteration as finished:
                outcome: Result = finished.value
        return outcome

    async def after_restore(self, *, actor: str) -> Restored:
        session = self._postgres._session("restore", _RESTORE_SECONDS)  # noqa: SLF001 - as above
        try:
            outcome = await self._perform(session, after_restore(actor))
        finally:
            await session.close()
        raise_refusal(outcome)
        assert isinstance(outcome, Restored)
        return outcome


def after_restore(actor: str) -> Action[Restored | HoldfastError]:
    ((_, made_on, server, _, _, _, highest_xid, server_xid, _),) = yield "identity", {}
    if made_on == server and highest_xid <= server_xid:
        yield from record(actor, "after restore", "the store", allowed=False)
        return ConfigurationError(
            "this store is on the server that its tables were made on: there is nothing to repair"
        )
    ((deliveries, events),) = yield "after_restore", {}
    detail = {"made_on": str(made_on), "server": str(server), "events": events}
    yield from record(actor, "after restore", "the store", detail=detail, count=deliveries)
    return Restored(deliveries, events)
