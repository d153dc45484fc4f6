"""Reading ahead: windows of the log become deliveries in hand, for all partitions at once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, StoreUnavailable
from holdfast.worker.cohorts import cohorts
from holdfast.worker.hand import PAGE_EVENTS, Deferred, Phase
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from holdfast.counts import WorkerCounts
    from holdfast.event import Row
    from holdfast.stores.base import Reader, Store
    from holdfast.stores.values import Page
    from holdfast.worker.cohorts import Cohort
    from holdfast.worker.hand import Mark, Partition
    from holdfast.worker.runner import Runner

    _Places = dict[int, tuple[Partition, Mark]]

logger = logging.getLogger("holdfast.worker")

PAGE_BYTES = 8 * 2**20
_PAGES_AHEAD = 16  # rounds of looking ahead between two in which what is deferred is read
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


def of_tenant(rows: Sequence[Row], tenant_id: str | None, places: _Places, partitions: int) -> Sequence[Row]:
    """The events of one tenant; None: of all but those that are deferred in these places of so many partitions."""
    if tenant_id is not None:
        return [row for row in rows if row.tenant_id == tenant_id]
    left_out = {
        (number, tenant)
        for number, (partition, _) in places.items()
        for tenant in partition.deferred
        if not partition.takes(tenant)
    }
    if not left_out:
        return rows
    return [row for row in rows if (row.slot % partitions, row.tenant_id) not in left_out]


def without(members: Sequence[Partition]) -> list[str]:
    """The tenants that none of these takes."""
    if not all(member.deferred for member in members):
        return []
    left_out = [{tenant for tenant in member.deferred if not member.takes(tenant)} for member in members]
    return sorted(set.intersection(*left_out))


class Feeder:
    """Reads the log for every readable partition and offers what it finds to the runners.

    Partitions at the same place are read together (`cohorts`). One whose subscription has no room stays where it is,
    and catches up with the others later.

    Args:
        store: Gives reading sessions.
        runners: By subscription id; the worker's own mapping, which changes.
        partitions: The partitions that the worker holds; the worker's own list of them.
        check: Takes over a page of a partition that must be checked before it is handed out.
        reload: Called when the session was lost: every cursor must start from its persisted place.
        set_apart: Called when other tenants than before are aside, so that those who wait for a limit leave room.
        changed: Called when somebody registered, paused, replayed or retried, before the events of that time are read.
        write: Writes the places of partitions; returns when they are durable.
        poll_interval: Longest pause between two reads, seconds.
        counts: The worker's.
    """

    def __init__(
        self, store: Store, runners: Mapping[int, Runner], partitions: Callable[[], Sequence[Partition]], *,
        check: Callable[[Partition, Page], Awaitable[None]], reload: Callable[[], Awaitable[None]],
        changed: Callable[[], Awaitable[None]], set_apart: Callable[[], None],
        write: Callable[[Sequence[Partition]], Awaitable[None]],
        poll_interval: float, counts: WorkerCounts,
    ) -> None:  # fmt: skip
        self._store, self._runners, self._partitions = store, runners, partitions
        self._check, self._reload, self._changed = check, reload, changed
        self._set_apart, self._write = set_apart, write
        self._ahead = 0  # rounds since somebody stood at the end of the log last
        self._poll_interval = poll_interval
        self._reader: Reader | None = None
        self._opening = asyncio.Lock()  # take-overs ask for a horizon while the loop starts to read
        self._is_lost = False
        self._generation: int | None = None
        self._look_at = 0.0
        self._wake = asyncio.Event()
        self._pause = _SHORTEST_PAUSE
        self._outage = Outage("reading is interrupted", "reading goes on, from the stored cursors", counts)
        self.router = Router([])
        self._limited: list[Runner] = []
        self.is_quiet = False
        """The last round read to the end of the log and found nothing."""

    def wake(self) -> None:
        """Somebody may have stored an event, or there is room again."""
        self._wake.set()

    def reroute(self) -> None:
        """Patterns or subscriptions have changed."""
        self.router = Router(list(self._runners.values()))
        self._limited = [runner for runner in self._runners.values() if runner.consumer.limits]

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
        """
        Read one page for each group of partitions with the same place; returns whether anything was found.

        What is deferred is read when the others have come to the end of the log, and now and then on their way there.
        """
        reader = await self._session()
        if sum(runner.waiting.balance() for runner in self._limited):  # each one is asked
            self._set_apart()
            await self._write(self._partitions())
        split = [partition for partition in self._partitions() if partition.deferred]
        for partition in split:
            partition.rejoin()
        readable = self._readable()
        reading = cohorts(readable, self._store.latest)
        if not readable and not (split and self._deferred()):
            self.is_quiet = True
            return await self._looks_round(reader)
        found = await self._read(reader, reading)
        if found is None:
            return True
        if reading:
            found |= len(reading[0].members) < len(readable)  # others have waited for these, or read from elsewhere
        if not found and not split:
            self._ahead, self.is_quiet = 0, True
            return False
        self._ahead = self._ahead + 1 if any(one.cursor.open is not None for one in self._readable()) else 0
        if (deferred := self._deferred()) and self._ahead % _PAGES_AHEAD == 0:
            # Up to where the others stand now, and no further: there they are one again.
            behind = [
                cohort
                for cohort in cohorts([*deferred, *self._wholes(deferred)], self._store.latest)
                if any(isinstance(one, Deferred) for one in cohort.members)
            ]
            more = await self._read(reader, behind)
            if more is None:
                return True
            found |= more
        self.is_quiet = not found
        return found

    async def _read(self, reader: Reader, reading: Sequence[Cohort]) -> bool | None:
        """Read a page for each of these; None where somebody has changed something, and all begins anew."""
        found = False
        for cohort in reading:
            if not any(self._has_room(partition) for partition in cohort.members):
                continue  # what was read before in this round has taken it
            page = await reader.read(
                cohort.cursor, horizon=cohort.horizon, before=cohort.before, without=without(cohort.members),
                limit=PAGE_EVENTS, max_bytes=PAGE_BYTES,
            )  # fmt: skip
            found |= bool(page.rows) or page.cursor.open is not None
            if await self._takes_notice(page.generation):
                return None  # this page may hold the first events of patterns that were not known here: read it again
            await self._deliver(page, cohort)
        return found

    async def _looks_round(self, reader: Reader) -> bool:
        """Where nothing is read, as all is full or paused: look whether somebody has changed something, now and then."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return False
        self._look_at = now + self._poll_interval
        return await self._takes_notice(await reader.generation())

    async def _takes_notice(self, generation: int) -> bool:
        """Look at everything again if somebody has changed something: also where all is paused and nothing is read."""
        if generation == self._generation:
            return False
        await self._changed()
        self._generation = generation
        return True

    def _readable(self) -> list[Partition]:
        """Room is asked for by subscription: an idle worker does this 25 times a second for all partitions it holds."""
        full = {known for known, runner in self._runners.items() if not runner.has_room}
        readable = [partition for partition in self._partitions() if partition.is_readable]
        return [one for one in readable if one.slice.subscription not in full] if full else readable

    def _deferred(self) -> list[Partition]:
        """What catches up and has room: only half of the room is theirs, the rest is kept for others."""
        return [
            one
            for partition in self._partitions()
            for one in partition.deferred.values()
            if one.is_readable and self._has_room(one)
        ]

    def _wholes(self, deferred: Sequence[Partition]) -> list[Partition]:
        """The partitions that these are parts of, where they can be met."""
        return list(dict.fromkeys(one.whole for one in deferred if one.whole.phase is Phase.FAST))

    def _has_room(self, partition: Partition) -> bool:
        runner = self._runners.get(partition.slice.subscription)
        if runner is None or not runner.has_room:
            return False
        return not (isinstance(partition, Deferred) and runner.waiting.is_crowded)

    async def _deliver(self, page: Page, cohort: Cohort) -> None:
        if cohort.horizon is None and not page.rows and page.cursor == cohort.cursor:
            return  # nothing has happened at all, and nobody waits for this page to be checked
        checking = [partition for partition in cohort.members if partition.phase is Phase.CHECKING]
        has_room = {known: runner.has_room for known, runner in self._runners.items()}
        self._hand_out(
            page,
            [
                partition
                for partition in cohort.members
                if partition.phase is Phase.FAST
                and self._may_take(partition, cohort)
                and has_room.get(partition.slice.subscription, False)
            ],
        )
        if page.rows and page.cursor.open is not None:
            await self._let_others_by([one for one in cohort.members if one.whole is one])
        for partition in checking:
            if self._may_take(partition, cohort) and self._has_room(partition):
                await self._check(partition, page)

    async def _let_others_by(self, members: Sequence[Partition]) -> None:
        """
        There is more to read, and a tenant has a share of what is in hand: it is read later, by a cursor of its own.

        That is written down before the others are read on: whoever takes over must not look among all that they leave
        behind for what was in hand.
        """
        changed: list[Partition] = []
        for known in {partition.slice.subscription for partition in members}:
            runner = self._runners.get(known)
            if runner is None or not runner.waiting.is_crowded:
                continue
            for tenant in runner.waiting.crowding():
                for partition in self._partitions():
                    is_its = partition.slice.subscription == known and tenant not in partition.deferred
                    if is_its and partition.may_split:
                        partition.give_way(tenant)
                        changed.append(partition)
        if changed:
            await self._write(list(dict.fromkeys(changed)))

    def _may_take(self, partition: Partition, cohort: Cohort) -> bool:
        """Not where it was lost, given back or moved while the page was read: it stays where it is."""
        return partition.is_readable and partition.cursor == cohort.cursor

    def _hand_out(self, page: Page, partitions: Sequence[Partition]) -> None:
        its_rows = self._rows_of(page.rows, {partition.slice.subscription for partition in partitions})
        takers: dict[tuple[Runner, str | None], _Places] = {}
        for partition in partitions:
            runner = self._runners[partition.slice.subscription]
            if runner in its_rows:
                tenant = partition.tenant_id if isinstance(partition, Deferred) else None
                places = takers.setdefault((runner, tenant), {})
                places[partition.slice.partition] = (partition, partition.add_page(page))
            else:
                partition.pass_over(page)
        for (runner, tenant), places in takers.items():
            rows = of_tenant(its_rows[runner], tenant, places, runner.record.partitions)
            runner.offer_page(rows, places)
        for (runner, _), places in takers.items():
            runner.start()
            for partition, _ in places.values():
                partition.advance()

    def _rows_of(self, rows: Sequence[Row], subscriptions: set[int]) -> dict[Runner, Sequence[Row]]:
        """The events of a page by the subscription that they concern; one that none concerns is left out."""
        every = {row.name for row in rows}
        wanted: dict[Runner, list[str]] = {}
        for name in every:
            for runner in self.router(name):
                if runner.record.id in subscriptions:
                    wanted.setdefault(runner, []).append(name)
        found: dict[Runner, Sequence[Row]] = {}
        takers: dict[str, list[Callable[[Row], None]]] = {name: [] for name in every}
        for runner, names in wanted.items():
            if len(names) == len(every):
                found[runner] = rows
            else:
                its: list[Row] = []
                found[runner] = its
                for name in names:
                    takers[name].append(its.append)
        if any(takers.values()):
            for row in rows:  # once, however many subscriptions there are
                for take in takers[row.name]:
                    take(row)
        return found
