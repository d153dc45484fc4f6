"""Acting on the SQLite store: the shared actions, each in one write transaction of one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError
from holdfast.stores.operating import Operating
from holdfast.stores.sqlite.inspecting import adapted

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.stores.records import Restored
    from holdfast.stores.refusing import Action, Result, Rows
    from holdfast.stores.sqlite.inspecting import SQLiteInspector
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.store import SQLiteStore


class SQLiteOperator(Operating):
    """See `holdfast.stores.operator.Operator`."""

    def __init__(self, store: SQLiteStore, inspector: SQLiteInspector) -> None:
        super().__init__(store, inspector)
        self._looking = inspector

    @property
    def residue(self) -> str:
        return "free pages of the SQLite file, and its -wal file, until VACUUM has written them anew"

    async def perform(self, action: Action[Result]) -> Result:
        return await self._looking.writing.run(self._perform, action)

    def _perform(self, session: Session, action: Action[Result]) -> Result:
        self._looking.require_version(session)
        with session.write():
            try:
                statement, parameters = next(action)
                while True:
                    rows = session.rows(statement, **adapted(session, parameters))
                    statement, parameters = action.send(rows)
            except StopIteration as finished:
                outcome: Result = finished.value
        return outcome

    async def commands(self, texts: Rows, progress: Callable[[int], None] | None = None) -> None:
        for number, (text, _) in enumerate(texts, 1):
            await self._looking.writing.run(command, text)
            if progress is not None:
                progress(number)

    def before_moving_in(self, highest: int) -> Action[None]:
        yield "park_unseen", {"highest": highest}

    def after_moving_in(self) -> Action[None]:
        yield "pass_moved", {}

    async def after_restore(self, *, actor: str) -> Restored:
        async with self.refusals(actor, "after restore", "the store"):
            raise ConfigurationError(
                "an SQLite file that was copied whole needs no repair: its cursors are places in itself"
            )


def command(session: Session, text: str) -> None:
    with session.write():
        session.connection.execute(text)
