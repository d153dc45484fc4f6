"""Reading ahead: windows of the log become deliveries in hand, for all partitions at once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, StoreUnavailable
from holdfast.worker.hand import PAGE_EVENTS, Phase
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from holdfast.event import Row
    from holdfast.stores.base import Reader, Store
    from holdfast.stores.values import Cursor, Page
    from holdfast.worker.hand import Mark, Partition
    from holdfast.worker.runner import Runner

logger = logging.getLogger("holdfast.worker")

PAGE_BYTES = 8 * 2**20
_SHORTEST_PAUSE = 0.002
_NAMES_REMEMBERED = 10_000


class Router:
    """Tells which subscriptions an event concerns, by its name.

    Names are remembered: a name costs its patterns once.
    """

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._runners = runners
        self._known: dict[str, tuple[Runner, ...]] = {}

    def __call__(self, name: str) -> tuple[Runner, ...]:
        try:
            return self._known[name]
        except KeyError:
            if len(self._known) >= _NAMES_REMEMBERED:
                self._known.clear()
            found = tuple(runner for runner in self._runners if runner.matches(name))
            self._known[name] = found
            return found


class Feeder:
    """Reads the log for every readable partition and offers what it finds to the runners.

    Partitions with the same cursor are read together. One whose subscription has no room stays where it is, and is
    read on its own later; when it has caught up, a common horizon brings it back to the others.

    Args:
        store: Gives reading sessions.
        runners: By subscription id; the worker's own mapping, which changes.
        partitions: The partitions that the worker holds; the worker's own list of them.
        check: Takes over a page of a partition that must be checked before it is handed out.
        reload: Called when the session was lost: every cursor must start from its persisted place.
        changed: Called when somebody registered, paused, replayed or retried, before the events of that time are read.
        poll_interval: Longest pause between two reads, seconds.
    """

    def __init__(
        self, store: Store, runners: Mapping[int, Runner], partitions: Callable[[], Sequence[Partition]], *,
        check: Callable[[Partition, Page], Awaitable[None]], reload: Callable[[], Awaitable[None]],
        changed: Callable[[], Awaitable[None]], poll_interval: float,
    ) -> None:  # fmt: skip
        self._store, self._runners, self._partitions = store, runners, partitions
        self._check, self._reload, self._changed = check, reload, changed
        self._poll_interval = poll_interval
        self._reader: Reader | None = None
        self._opening = asyncio.Lock()  # take-overs ask for a horizon while the loop starts to read
        self._is_lost = False
        self._generation: int | None = None
        self._wake = asyncio.Event()
        self._pause = _SHORTEST_PAUSE
        self._outage = Outage("reading is interrupted", "reading goes on, from the stored cursors")
        self.router = Router([])
        self.is_quiet = False
        """The last round read to the end of the log and found nothing."""

    def wake(self) -> None:
        """Somebody may have stored an event, or there is room again."""
        self._wake.set()

    def reroute(self) -> None:
        """Patterns or subscriptions have changed."""
        self.router = Router(list(self._runners.values()))

    async def horizon(self) -> str:
        """What can be seen now, by the reading session."""
        reader = await self._session()
        try:
            return await reader.horizon()
        except HoldfastError:
            self._is_lost = True  # and so is all that it has read: the loop starts again
            self._wake.set()
            raise

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                try:
                    found = False if self._is_lost else await self._round()
                except HoldfastError as error:
                    self._note(error)
                    self._is_lost = True
                if self._is_lost:
                    await self._start_again()
                else:
                    self._outage.over()
                    await self._wait(found=found)
        finally:
            await self.close()

    def _note(self, error: HoldfastError) -> None:
        if isinstance(error, StoreUnavailable):
            self._outage.met(error)
        else:
            logger.error("reading is refused, and tried again: %s", error)

    async def _wait(self, *, found: bool) -> None:
        if found:
            self._pause = _SHORTEST_PAUSE
            await asyncio.sleep(0)
            return
        self._woken = True
        timer = asyncio.get_running_loop().call_later(self._pause, self._time_is_up)  # `asyncio.timeout` costs more
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()
        self._pause = _SHORTEST_PAUSE if self._woken else min(self._pause * 2, self._poll_interval)

    def _time_is_up(self) -> None:
        self._woken = self._wake.is_set()
        self._wake.set()

    async def _start_again(self) -> None:
        """With a new session, from the persisted cursors, as often as it takes."""
        while self._is_lost:
            await self.close()
            await asyncio.sleep(min(self._poll_interval * 5, 1.0))
            self._is_lost = False
            try:
                await self._reload()
            except HoldfastError as error:
                self._note(error)
                self._is_lost = True

    async def close(self) -> None:
        """Give the session back; whoever reads again, or asks for a horizon, has a new one."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(HoldfastError):
                await reader.close()

    async def _session(self) -> Reader:
        async with self._opening:
            if self._reader is None:
                self._reader = await self._store.reader()
            return self._reader

    async def _round(self) -> bool:
        """Read one page for each group of partitions with the same place; returns whether anything was found."""
        cohorts = self._cohorts()
        reader = await self._session()
        if not cohorts:
            self.is_quiet = True
            return await self._takes_notice(await reader.generation())
        common: str | None = None
        found = False
        for (cursor, until), members in cohorts.items():
            if not any(self._has_room(partition) for partition in members):
                continue  # what was read before in this round has taken it
            page = await reader.read(cursor, horizon=until or common, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES)
            if until is None and cursor.open is None and page.cursor.open is None and page.is_latest:
                common = common or page.horizon  # from here on they are read together
            found |= bool(page.rows) or page.cursor.open is not None
            if await self._takes_notice(page.generation):
                return True  # this page may hold the first events of patterns that were not known here: read it again
            await self._deliver(page, cursor, members)
        self.is_quiet = not found
        return found

    async def _takes_notice(self, generation: int) -> bool:
        """Look at everything again if somebody has changed something: also where all is paused and nothing is read."""
        if generation == self._generation:
            return False
        await self._changed()
        self._generation = generation
        return True

    def _cohorts(self) -> dict[tuple[Cursor, str | None], list[Partition]]:
        cohorts: dict[tuple[Cursor, str | None], list[Partition]] = {}
        for partition in self._partitions():
            if partition.is_readable and self._has_room(partition):
                cohorts.setdefault((partition.cursor, partition.horizon), []).append(partition)
        return cohorts

    def _has_room(self, partition: Partition) -> bool:
        runner = self._runners.get(partition.slice.subscription)
        return runner is not None and runner.has_room

    async def _deliver(self, page: Page, before: Cursor, members: list[Partition]) -> None:
        fast: list[Partition] = []
        for partition in members:
            if partition.cursor != before or not partition.is_readable or not self._has_room(partition):
                continue  # lost, given back or filled while the page was read: it stays where it is
            if partition.phase is Phase.CHECKING:
                await self._check(partition, page)
            else:
                fast.append(partition)
        if fast:
            self._hand_out(page.rows, {partition: partition.add_page(page) for partition in fast})

    def _hand_out(self, rows: Sequence[Row], marks: dict[Partition, Mark]) -> None:
        places: dict[Runner, dict[int, tuple[Partition, Mark]]] = {}
        for partition, mark in marks.items():
            runner = self._runners[partition.slice.subscription]
            places.setdefault(runner, {})[partition.slice.partition] = (partition, mark)
        wanted = {name: self.router(name) for name in {row.name for row in rows}}
        for runner, its_places in places.items():
            names = {name for name, runners in wanted.items() if runner in runners}
            its = rows if len(names) == len(wanted) else [row for row in rows if row.name in names]
            runner.offer_page(its, its_places)
        for runner in places:
            runner.start()
        for partition in marks:
            partition.advance()
