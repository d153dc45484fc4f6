"""The store of a test: SQLite as in production, whose time can pass at once and whose events can be looked at."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.event import Event
from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.sqlite.deliveries import waits
from holdfast.stores.sqlite.errors import translated
from holdfast.stores.sqlite.rows import MAX_POSITION, row_of
from holdfast.stores.values import Slice

if TYPE_CHECKING:
    from collections.abc import Collection

    from holdfast.stores.sqlite.session import Session
    from holdfast.testing.clock import Clock


class WatchedStore(SQLiteStore):
    """
    An SQLite store for one test.

    Args:
        path: As for `SQLiteStore`; None is memory.
        clock: Its time.
        timeout: As for `SQLiteStore`.
    """

    def __init__(self, path: str | None, clock: Clock, *, timeout: float) -> None:
        super().__init__(path, clock=clock.now, timeout=timeout)
        self._time = clock
        self._kept: list[Event] | None = None

    async def unsettled(self, subscriptions: Collection[int], horizon: str) -> dict[int, int]:
        """Asked by a drain once nothing runs: what is left then waits for its time, which comes now."""
        left = await super().unsettled(subscriptions, horizon)
        if waiting := {known for known, count in left.items() if count}:
            await self._let_time_pass(waiting)
        return left

    async def _let_time_pass(self, subscriptions: Collection[int]) -> None:
        records = [record for record in await self.subscriptions() if record.id in subscriptions]
        slices = [Slice(record.id, number) for record in records for number in range(record.partitions)]
        if seconds := await self._lookup.run(waits, slices):
            self._time.advance(seconds)

    def events(self) -> list[Event]:
        """
        All that is in the log, in its order; of a store in memory that was closed, what was in it then.

        From any thread. Raises StoreBusy where a transactional handler keeps the store for longer than the timeout.
        """
        if self._kept is not None:
            return list(self._kept)
        if self._identity is None:
            return []
        with translated(self._where):
            if self._path is None:
                with self._turn.taken(self._timeout), self._writer.in_use() as session:
                    return _logged(session)
            with closing(self._checked(self._connect())) as session:
                return _logged(session)

    async def close(self) -> None:
        self._keep()
        await super().close()

    def abandon(self) -> None:
        with suppress(HoldfastError):  # the collector may be the caller, in the midst of anything
            self._keep()
        super().abandon()

    def _keep(self) -> None:
        if self._path is None and self._kept is None:
            self._kept = self.events()


def _logged(session: Session) -> list[Event]:
    rows = session.rows("read_window", first=0, last=MAX_POSITION, without=None, limit=-1)
    return [Event(row_of(*row)) for row in rows]
