"""Acting on the PostgreSQL store: the shared actions, each in one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError, StoreBusy
from holdfast.stores.operating import Operating
from holdfast.stores.postgres.binding import Binding
from holdfast.stores.records import Restored
from holdfast.stores.refusing import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.stores.postgres.inspecting import PostgresInspector
    from holdfast.stores.postgres.session import Session
    from holdfast.stores.postgres.store import PostgresStore
    from holdfast.stores.refusing import Action, Result, Rows

_A_DAY = 86_400.0
_TURN = "select set_config('lock_timeout', '100ms', true)"
_PAUSE_S, _PATIENCE_S = 0.3, 600.0


class PostgresOperator(Operating, Binding):
    """See `holdfast.stores.operator.Operator`."""

    def __init__(self, store: PostgresStore, inspector: PostgresInspector) -> None:
        super().__init__(store, inspector)
        self._postgres, self._looking = store, inspector
        self._statements = store._statements  # noqa: SLF001 - a part of the store

    @property
    def residue(self) -> str:
        return (
            "dead rows of event_log, deliveries and attempts until VACUUM has passed and their room is used again, and the "
            "server's write-ahead log with its archive"
        )

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

    async def commands(self, texts: Rows, progress: Callable[[int], None] | None = None) -> None:
        session = self._postgres._session("index", _A_DAY)  # noqa: SLF001 - as above
        try:
            for number, (text, is_long) in enumerate(texts, 1):
                await (session.run(text) if is_long else in_turns(session, text))
                if progress is not None:
                    progress(number)
        finally:
            await session.close()

    def before_moving_in(self, highest: int) -> Action[None]:
        yield "number_on", {"highest": highest}

    def after_moving_in(self) -> Action[None]:
        """Nothing: `add_moved_events` gives them a transaction that every cursor shows."""
        yield from ()

    async def after_restore(self, *, actor: str) -> Restored:
        session = self._postgres._session("restore", _A_DAY)  # noqa: SLF001 - as above
        try:
            async with self.refusals(actor, "after restore", "the store"):
                return await self._perform(session, after_restore(actor))
        finally:
            await session.close()


async def in_turns(session: Session, text: str) -> None:
    """
    Carry out a command that locks a table, again and again while somebody has a lock that it needs: who waits for such
    a lock keeps everybody waiting who comes later.

    Raises:
        StoreBusy: Somebody has held it for ten minutes.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_S
    while True:
        try:
            async with session.transaction() as connection:
                await connection.execute(_TURN)
                await connection.execute(text.encode())
                return
        except StoreBusy:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)


def after_restore(actor: str) -> Action[Restored]:
    ((_, made_on, server, _, _, _, highest_xid, server_xid, _),) = yield "identity", {}
    if made_on == server and highest_xid <= server_xid:
        raise ConfigurationError("this store is on the server that its tables were made on: there is nothing to repair")
    ((deliveries, events),) = yield "after_restore", {}
    detail = {"made_on": str(made_on), "server": str(server), "events": events}
    yield from record(actor, "after restore", "the store", detail=detail, count=deliveries)
    return Restored(deliveries, events)
