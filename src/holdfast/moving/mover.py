"""Moving a store into another one: all that handlers would have got, and nothing that they have had.

Events go over in the order of the log, page by page, each page in one transaction with all that belongs to its events:
receipts, delivery rows, attempts, and a row for each subscription that had not come to an event yet. So whoever is killed
leaves whole events, and the next run passes over what is there. At the end both stores are read once more and compared.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.errors import BusStateError, ConfigurationError
from holdfast.moving import writing
from holdfast.moving.reading import NO_ID, belonging, events_of, lists, of_ids, outlived, pages
from holdfast.moving.rows import (
    Standing,
    TenantPause,
    as_key,
    as_replay,
    as_schedule,
    as_scheduled,
    as_tenant_pause,
    time_of,
)
from holdfast.moving.tally import Table, table
from holdfast.stores.columns import as_uuid
from holdfast.stores.refusing import count_in_audit, record
from holdfast.stores.values import Declaration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias
    from uuid import UUID

    from holdfast.moving.reading import Contents
    from holdfast.moving.rows import MovedKey, MovedReplay, MovedSchedule, MovedScheduled
    from holdfast.stores.base import Store
    from holdfast.stores.inspecting import Inspecting
    from holdfast.stores.operating import Operating

    Bar: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

_REPLAYS = 10_000


class End(NamedTuple):
    """One of the two stores. ``title`` is what people are told of it: no password."""

    store: Store
    inspector: Inspecting
    operator: Operating
    title: str


class Move(NamedTuple):
    """
    What a run has done.

    Attributes:
        events: How many it has moved; those that an earlier run had moved are not among them.
        tables: What was found in both stores at the end.
        sealed_days: Days of the source that have seals, which stay there.
    """

    events: int
    tables: tuple[Table, ...]
    sealed_days: int

    @property
    def is_sound(self) -> bool:
        return all(one.agrees for one in self.tables)


@contextmanager
def _no_bar(_label: str, _total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _done: None


class Mover:
    """
    Moves what is in *source* into *destination*, both opened.

    The source must be at rest: no worker lives. So must be the destination, which has no events, or those of an earlier
    run of the same move, and has never been worked on since. Publishers of the source need not stop: what they publish
    after a run has begun, the next run takes. Until all is there and compared, subscriptions of the destination are paused.

    Args:
        actor: For the audit of both.
        bar: Shows progress: takes a label and a total, gives what takes how far it has come.
    """

    def __init__(self, source: End, destination: End, *, actor: str, bar: Bar = _no_bar) -> None:
        self._source, self._destination, self._actor, self._bar = source, destination, actor, bar
        self._horizon: Any = None

    async def move(self) -> Move:
        """
        One run. Broken off at any moment, it is finished by another one.

        Returns: where `Move.is_sound` is not so, the stores differ, and the destination's subscriptions stay paused.

        Raises:
            BusStateError: One of both is not at rest, or was worked on since the move began.
            ConfigurationError: Both are the same store; the destination has events of its own; another program has stored
                what no other store would keep.
            PermissionDenied: On PostgreSQL the role does not own the destination's tables.

        Cost: reads the source twice and what is moved once; a transaction for up to 1,000 events. On PostgreSQL all events
        moved are of the day of the move for retention, on SQLite of the time of it.
        """
        origin = await self._at_rest()
        begun = await self._destination.operator.perform(writing.begin(origin, self._destination.title, self._actor))
        audit = await self._source.operator.perform(
            record(self._actor, "move out", self._destination.title, detail={"to": self._destination.store.identity}, count=0)
        )  # fmt: skip
        await self._register()
        events = await self._copy(begun)
        await self._source.operator.perform(count_in_audit(audit, events))
        tables = await self._compare()
        if (await self._at_rest()).epochs != origin.epochs:
            raise BusStateError(f"a worker has run on {origin.title} meanwhile: {writing.AGAIN}")
        if all(one.agrees for one in tables):
            tables.append(await self._end(tables))
        return Move(events, tuple(tables), len(await self._source.inspector.rows("seal_days")))

    # Before

    async def _at_rest(self) -> writing.Origin:
        source, destination = self._source, self._destination
        if source.store.identity == destination.store.identity:
            raise ConfigurationError(f"{source.title} is moved into itself: give another destination")
        for one in (source, destination):
            if live := [worker for worker in await one.inspector.workers() if worker.live]:
                raise BusStateError(
                    f"{one.title} is not at rest: process {live[0].pid} on {live[0].host} works there "
                    f"({', '.join(live[0].subscriptions) or 'no subscription'}); stop it, or wait for a minute if it is gone"
                )
        replays = await source.inspector.replays(limit=_REPLAYS)
        if running := [replay for replay in replays if replay.state == "running"]:
            raise BusStateError(
                f"replay {running[0].id} of {running[0].subscription!r} in {source.title} has not come to its end: finish it by  "
                f"holdfast replay --resume {running[0].id}"
            )
        ((epochs,),) = await source.inspector.rows("lease_epochs")
        return writing.Origin(source.store.identity, epochs, source.title)

    async def _register(self) -> None:
        """What the source has and the destination has not; then nobody works for these until the end."""
        found = await self._source.inspector.subscriptions()
        known = {one.name for one in await self._destination.store.subscriptions()}
        await self._destination.store.register([
            Declaration(
                one.name, one.patterns, one.partitions, one.ordering, one.on_dead, one.replayable,  # type: ignore[arg-type]
                behind_retention=one.behind_retention,  # type: ignore[arg-type]
            )
            for one in found if one.name not in known
        ])  # fmt: skip
        await self._destination.operator.perform(writing.hold([one.name for one in found], self._actor))

    # All of it

    async def _copy(self, begun: writing.Begun) -> int:
        self._horizon = (await self._source.inspector.rows("horizon"))[0][0]
        ((highest,),) = await self._source.inspector.rows("highest_delivery")
        await self._add_all("add_moved_keys", "keys", self._keys(self._source))
        await self._add_all("add_moved_replays", "replays", self._replays(self._source))
        await self._add_all("add_moved_scheduled", "scheduled", self._scheduled(self._source))
        schedules = await self._schedules(self._source)
        await self._destination.operator.perform(writing.add_rows("add_moved_schedules", "schedules", schedules))
        events = 0
        with self._bar("Moving", await self._span()) as advance:
            async for page in pages(self._source.inspector, horizon=self._horizon, progress=advance):
                known = await self._known([one.id for one in page])
                if fresh := [one for one in page if one.id not in known]:
                    await self._add(await belonging(self._source.inspector, fresh), begun, highest)
                    events += len(fresh)
        async for ids in outlived(self._source.inspector):
            there = {one.event_id for one in (await of_ids(self._destination.inspector, ids)).deliveries}
            if missing := [one for one in ids if one not in there]:
                await self._add(await of_ids(self._source.inspector, missing), begun, highest)
        return events

    async def _add(self, contents: Contents, begun: writing.Begun, highest: int) -> None:
        operator = self._destination.operator
        await operator.perform(writing.add(operator, contents, begun, highest))

    async def _add_all(self, statement: str, name: str, lists: AsyncIterator[Sequence[Any]]) -> None:
        async for rows in lists:
            await self._destination.operator.perform(writing.add_rows(statement, name, rows))

    async def _known(self, ids: Sequence[str]) -> set[str]:
        given: list[UUID] = [as_uuid(one) for one in ids]
        return {str(as_uuid(one)) for (one,) in await self._destination.inspector.rows("stored_ids", ids=given)}

    async def _span(self) -> int:
        ((low, high),) = await self._source.inspector.rows("log_span")
        return 0 if low is None else int(high - low + 1)

    async def _keys(self, of: End) -> AsyncIterator[list[MovedKey]]:
        async for rows in lists(of.inspector, "kept_keys", NO_ID):
            yield [as_key(row) for row in rows]

    async def _replays(self, of: End) -> AsyncIterator[list[MovedReplay]]:
        async for rows in lists(of.inspector, "kept_replays", 0):
            yield [as_replay(row) for row in rows]

    async def _scheduled(self, of: End) -> AsyncIterator[list[MovedScheduled]]:
        async for rows in lists(of.inspector, "kept_scheduled", NO_ID):
            yield [as_scheduled(row) for row in rows]

    async def _schedules(self, of: End) -> list[MovedSchedule]:
        return [as_schedule(row) for row in await of.inspector.rows("kept_schedules")]

    # The proof

    async def _compare(self) -> list[Table]:
        """Read all of the source once more, and of the destination what has come from it."""
        log, receipts, deliveries, attempts = map(table, ("event_log", "receipts", "deliveries", "attempts"))

        def take(source: Contents, destination: Contents) -> None:
            receipts.source.add(source.receipts)
            receipts.destination.add(destination.receipts)
            for tally, contents in ((deliveries.source, source), (deliveries.destination, destination)):
                tally.add(one.facts for one in contents.deliveries)
                tally.add(one.facts for one in contents.waiting)
            attempts.source.add(one.facts for one in source.attempts)
            attempts.destination.add(one.facts for one in destination.attempts)

        here, there = self._source.inspector, self._destination.inspector
        with self._bar("Comparing", await self._span()) as advance:
            async for page in pages(here, horizon=self._horizon, progress=advance):
                ids = [one.id for one in page]
                log.source.add(page)
                log.destination.add(await events_of(there, ids))
                take(await of_ids(here, ids), await of_ids(there, ids))
        async for ids in outlived(here):
            take(await of_ids(here, ids), await of_ids(there, ids))
        return [log, receipts, deliveries, attempts, *await self._compare_others()]

    async def _compare_others(self) -> list[Table]:
        """Of what belongs to no event of the log."""
        keys, replays, scheduled, schedules = map(table, ("subject_keys", "replays", "scheduled", "schedules"))
        for end, side in ((self._source, "source"), (self._destination, "destination")):
            async for some in self._keys(end):
                getattr(keys, side).add(some)
            async for others in self._replays(end):
                getattr(replays, side).add(one.facts for one in others)
        async for waiting in self._scheduled(self._source):
            scheduled.source.add(waiting)
            ids = [as_uuid(one.id) for one in waiting]
            rows = await self._destination.inspector.rows("scheduled_of", ids=ids)
            scheduled.destination.add(as_scheduled(row) for row in rows)
        moved = await self._schedules(self._source)
        schedules.source.add(moved)
        names = {one.name for one in moved}
        schedules.destination.add(one for one in await self._schedules(self._destination) if one.name in names)
        return [keys, replays, scheduled, schedules]

    async def _end(self, tables: Sequence[Table]) -> Table:
        standing, pauses = await self._standing(self._source), await self._pauses(self._source)
        detail = {
            "from": self._source.store.identity, "events": tables[0].source.count,
            "tables": [one.facts for one in tables],
        }  # fmt: skip
        await self._destination.operator.perform(writing.end(standing, pauses, self._source.title, detail, self._actor))
        subscriptions, names = table("subscriptions"), {one.name for one in standing}
        subscriptions.source.add([*standing, *pauses])
        there = [one for one in await self._standing(self._destination) if one.name in names]
        subscriptions.destination.add([*there, *await self._pauses(self._destination)])
        return subscriptions

    async def _standing(self, of: End) -> list[Standing]:
        found = await of.inspector.subscriptions()
        return [
            Standing(one.name, time_of(one.paused_at), one.paused_by, one.concurrency, str(time_of(one.created_at)))
            for one in found
        ]

    async def _pauses(self, of: End) -> list[TenantPause]:
        return [as_tenant_pause(row) for row in await of.inspector.rows("kept_tenant_pauses")]
