"""What a worker does for the store once a minute: it keeps house, drops what is old, and lets go of what lags behind."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.counts import WorkerCounts
    from holdfast.stores.base import Store
    from holdfast.worker.letting_go import LettingGo

logger = logging.getLogger("holdfast.worker")

_CHORE_SECONDS = 60.0


class Chores:
    """Runs until it is cancelled.

    Args:
        store: Whose house is kept.
        letting_go: For laggards.
        retention: Seconds; None keeps events for ever, and nobody lags behind that.
        warning: Seconds before retention at which those are named that will have to let go.
        counts: The worker's.
        recount: Counts the delivery rows that keys wait behind anew, in case they were miscounted.
    """

    def __init__(
        self, store: Store, letting_go: LettingGo, *, retention: float | None, warning: float, counts: WorkerCounts,
        recount: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._store, self._letting_go, self._counts, self._recount = store, letting_go, counts, recount
        self._retention, self._warning = retention, warning

    async def run(self) -> None:
        outage = Outage("chores wait", "chores are done", self._counts)
        while True:
            try:
                await self._keep_house()
            except HoldfastError as error:
                outage.met(error)
            except OSError as error:
                self._counts.store_errors += 1
                logger.error("the archive cannot be written, so nothing is let go of or dropped: %s", error)  # noqa: TRY400 - it says all
            else:
                outage.over()
            await self._recount()
            await asyncio.sleep(_CHORE_SECONDS)

    async def _keep_house(self) -> None:
        blocking = await self._maintain()
        if self._retention is None:
            return
        await self._letting_go.warn(self._retention - self._warning)
        if blocking and await self._letting_go.look(self._retention):
            await self._maintain()

    async def _maintain(self) -> tuple[str, ...]:
        done = await self._store.maintain(retention=self._retention, archive=self._letting_go.archive_of_dropped)
        self._counts.blocking = done.blocking
        if done.dropped:
            logger.info("retention dropped about %d events", done.dropped)
        if done.blocking:
            logger.warning("retention waits for the subscriptions %s", ", ".join(done.blocking))
        return done.blocking
