"""Subscriptions that lag behind retention let go of what they have not handled: archived first, if they say so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from holdfast.archive import Archive
    from holdfast.counts import WorkerCounts
    from holdfast.event import Row
    from holdfast.ports import Threads
    from holdfast.stores.base import Store
    from holdfast.stores.values import Laggard

logger = logging.getLogger("holdfast.worker")

PAGE_EVENTS, PAGE_BYTES = 1_000, 4 * 2**20


class LettingGo:
    """
    Looks, with the other chores, for what only laggards keep that hold nothing, and lets go of it page by page.

    A page is on the archive's disk before the store is told that it is let go of, and the log drops nothing of which it was
    not told. Whoever is killed in between archives one page twice.

    Args:
        store: Knows who lags.
        archive: None: those that want an archive are left to workers that have one.
        counts: The worker's.
        threads: Where files are written.
        new_id: Makes the ids of the events that tell of it.
    """

    def __init__(
        self, store: Store, archive: Archive | None, counts: WorkerCounts, threads: Threads, new_id: Callable[[], UUID]
    ) -> None:
        self._store, self._archive, self._counts = store, archive, counts
        self._threads, self._new_id = threads, new_id

    @property
    def archive_of_dropped(self) -> Archive | None:
        """Where what retention drops is written first; None: nowhere."""
        return self._archive if self._archive is not None and self._archive.takes_dropped else None

    async def warn(self, seconds: float) -> None:
        """Say who will have to let go of events soon: those that still need some that are *seconds* old."""
        near = await self._store.near_retention(seconds)
        self._counts.near_retention = near
        if near:
            logger.warning("retention comes near to what the subscriptions %s have not handled", ", ".join(near))

    async def look(self, retention: float) -> bool:
        """Let go of what is beyond *retention*; returns whether there was something, so that the log can be dropped.

        Raises:
            HoldfastError: The store is away; what was let go of until then is.
            OSError: The archive cannot be written; nothing of the page is let go of.
        """
        laggards = within_reach(await self._store.laggards(retention=retention), has_archive=self._archive is not None)
        for one in laggards:
            await self._let_go(one)
        return bool(laggards)

    async def _let_go(self, laggard: Laggard) -> None:
        now: Laggard | None = laggard
        while now is not None:
            page = await self._store.left_behind(now, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES)
            if page.position is None:
                await self._end(now)
                return
            if page.rows and laggard.choice == "archive":
                await self._write(laggard.name, page.rows)
            now = await self._store.let_go(now, page)

    async def _write(self, subscription: str, rows: Sequence[Row]) -> None:
        assert self._archive is not None
        add = self._archive.add
        (await self._threads.run(lambda: add(subscription, rows)).answer).unwrap()

    async def _end(self, laggard: Laggard) -> None:
        archive = None if laggard.choice != "archive" or self._archive is None else str(self._archive.folder)
        if not await self._store.end_letting_go(laggard, archive=archive, event_id=self._new_id()):
            return
        if laggard.events:
            self._counts.let_go[laggard.name] = self._counts.let_go.get(laggard.name, 0) + laggard.events
            logger.warning(
                "subscription %s let go of %d events beyond retention, positions %d to %d: %s",
                laggard.name, laggard.events, laggard.first_position, laggard.last_position,
                "dropped" if archive is None else f"archived in {archive}", extra={"subscription": laggard.name},
            )  # fmt: skip


def within_reach(laggards: Sequence[Laggard], *, has_archive: bool) -> list[Laggard]:
    """
    Of these, whom a worker can relieve. None of a part of the log that somebody wants archived, where there is no archive:
    the part stays for that one, so nothing would be won by what the others lose.
    """
    out_of_reach = {one.day for one in laggards if one.choice == "archive" and not has_archive}
    return [one for one in laggards if one.day not in out_of_reach]
