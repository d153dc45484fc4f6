"""Operations of a worker: leases, reading, what is off the fast path, settling."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from holdfast.counts import SECONDS
from holdfast.ids import new_id
from holdfast.schedule import Firing, Schedule
from holdfast.stores.values import (
    Advance,
    Cursor,
    Finished,
    Parked,
    Receipt,
    Released,
    Revised,
    Sampled,
    Slice,
    State,
)
from tests.contract.harness import EVERYTHING_IS_OLD, TTL, event, failed, keys_of, receipt, settlement_of, worker_info
from tests.statements.operation import Operation

if TYPE_CHECKING:
    from uuid import UUID

    from holdfast.event import NewEvent, Row
    from holdfast.stores.scheduling import Standing
    from holdfast.stores.values import Due, Laggard, Lease
    from tests.contract.harness import Scene
    from tests.statements.ground import Ground


class Hand(NamedTuple):
    """What a worker has in hand."""

    worker: UUID
    lease: Lease
    rows: list[Row]
    cursor: Cursor

    @property
    def held(self) -> dict[Slice, int]:
        return {self.lease.slice: self.lease.epoch}

    def receipt(self, number: int, **fields: Any) -> Receipt:
        return receipt(self.lease, self.rows[number], **fields)


async def hand(scene: Scene, *keys: str, **declared: Any) -> Hand:
    """A leased subscription, and events that it has read."""
    subscription = await scene.subscribe(**declared)
    lease, *_ = await scene.leases(subscription)
    await scene.publish(*keys)
    rows, cursor = await scene.read_all(lease.cursor, await own_reader(scene))
    return Hand(scene.worker, lease, rows, cursor)


async def own_reader(scene: Scene) -> Any:
    """One for all runs: each is a connection."""
    if not scene.readers:
        await scene.reader()
    with suppress(Exception):
        await scene.readers[0].horizon()
        return scene.readers[0]
    return await scene.reader()


async def leased(scene: Scene) -> Hand:
    return await hand(scene, partitions=2)


async def three_read(scene: Scene) -> Hand:
    return await hand(scene, "a", "b", "c")


async def four_parked(scene: Scene) -> Hand:
    """Due, due behind it, due, and much later."""
    found = await hand(scene, "a", "a", "b", "c")
    await scene.park(found.lease, found.rows[:3])
    await scene.park(found.lease, found.rows[3:], State.RETRYING, due_in=900.0)
    await scene.settle(found.lease, advances=[Advance(found.lease.slice, found.cursor)])
    return found


async def two_running(scene: Scene) -> tuple[Hand, list[Due]]:
    found = await hand(scene, "a", "b", "c")
    await scene.park(found.lease, found.rows[:2])
    claimed = await scene.store.claim(found.held, limit=10)
    return found, list(claimed.due)


# Leases


async def heartbeat(ground: Ground, found: Hand) -> tuple[int, int]:
    roster = await ground.store.heartbeat(worker_info(found.worker, found.lease.slice.subscription), ttl=TTL)
    return len(roster.workers), len(roster.leases)


async def a_subscription(scene: Scene) -> Any:
    return scene.worker, (await scene.subscribe(partitions=3)).id


async def acquire(ground: Ground, given: tuple[UUID, int]) -> list[tuple[int, int]]:
    worker, subscription = given
    leases = await ground.store.acquire(worker, {subscription: 2}, ttl=TTL)
    return [(lease.slice.partition, lease.epoch) for lease in leases]


async def renew(ground: Ground, found: Hand) -> int:
    return len(await ground.store.renew(found.worker, found.held, ttl=TTL))


async def release(ground: Ground, found: Hand) -> None:
    place = Released(found.lease.slice, found.lease.epoch, found.cursor, exact=True)
    await ground.store.release(found.worker, [place])


async def mark_fast(ground: Ground, found: Hand) -> None:
    await ground.store.mark_fast(found.worker, found.held)


async def usurped(scene: Scene) -> Hand:
    """After a crash of the owner before."""
    found = await hand(scene, "a")
    lease = await scene.usurp(found.lease)
    ((owner,),) = await scene.sql("select cast(owner as text) from leases")
    return found._replace(lease=lease, worker=type(found.worker)(owner))


async def a_worker(scene: Scene) -> Hand:
    found = await hand(scene)
    await scene.store.heartbeat(worker_info(found.worker, found.lease.slice.subscription), ttl=TTL)
    return found


async def leave(ground: Ground, found: Hand) -> None:
    await ground.store.leave(found.worker)


async def cursors(ground: Ground, found: Hand) -> list[int]:
    return [place.partition for place in await ground.store.places([found.lease.slice])]


# Reading


async def read(ground: Ground, found: Hand) -> list[str | None]:
    return await read_pages(ground, found.lease.cursor, limit=100)


async def read_by_pages(ground: Ground, found: Hand) -> list[str | None]:
    return await read_pages(ground, found.lease.cursor, limit=2)


async def read_pages(ground: Ground, cursor: Cursor, *, limit: int) -> list[str | None]:
    reader = await ground.store.reader()
    keys: list[str | None] = []
    try:
        await reader.horizon()
        await reader.generation()
        while True:
            page = await reader.read(cursor, limit=limit, max_bytes=2**20)
            keys += keys_of(page.rows)
            if page.cursor.open is None:
                return keys
            cursor = page.cursor
    finally:
        await reader.close()


async def known(ground: Ground, found: Hand) -> int:
    return len(await ground.store.known(found.lease.slice.subscription, [(row.id, row.day) for row in found.rows]))


async def unsettled(ground: Ground, found: Hand) -> list[int]:
    done = found.cursor.done
    return list((await ground.store.unsettled([found.lease.slice.subscription], done)).values())


async def caused_since(ground: Ground, found: Hand) -> bool:
    return await ground.store.caused_since(found.lease.cursor.done)


# Off the fast path


async def blocked_keys(ground: Ground, found: Hand) -> list[Any]:
    return sorted((await ground.store.blocked_keys([found.lease.slice]))[found.lease.slice].items())


async def claim(ground: Ground, found: Hand) -> Any:
    claimed = await ground.store.claim(found.held, limit=10)
    return [due.row.key for due in claimed.due]


async def suspects(ground: Ground, given: tuple[Hand, list[Due]]) -> list[str | None]:
    return [due.row.key for due in await ground.store.suspects([given[0].lease.slice])]


async def take_in(ground: Ground, found: Hand) -> list[str | None]:
    return [due.row.key for due in await ground.store.take_in(found.lease.slice, found.lease.epoch, found.rows)]


async def begin_attempt(ground: Ground, given: tuple[Hand, list[Due]]) -> Any:
    found, due = given
    begun = await ground.store.begin_attempt(due[0], found.lease.epoch)
    return begun and (begun.attempts, begun.claim)


# Settling


async def settle_one(ground: Ground, found: Hand) -> set[Slice]:
    return await ground.store.settle(settlement_of(receipts=[found.receipt(0)]))


async def settle_everything(ground: Ground, given: tuple[Hand, list[Due]]) -> int:
    """One row finished, one dead with a letter about it, an event parked, the cursor moved, receipts of two kinds."""
    found, (done, dead) = given
    place = found.lease.slice
    lost = await ground.store.settle(
        settlement_of(
            found.held,
            receipts=[found.receipt(0, attempts=2)],
            finished=[Finished(place, done.delivery, done.claim)],
            revised=[Revised(place, dead.delivery, dead.claim, State.DEAD, attempts=5, reason="no")],
            parked=[Parked(place, found.rows[2], State.RETRYING, attempts=1, due_in=900.0)],
            attempts=[failed(place, found.rows[1], attempt=5), failed(place, found.rows[2])],
            events=[(place, LETTER)],
            advances=[Advance(place, found.cursor)],
        )
    )
    return len(lost)


LETTER = event("letter", name="holdfast.dead")


async def settle_under_an_old_epoch(ground: Ground, found: Hand) -> int:
    place = found.lease.slice
    epochs = {place: found.lease.epoch - 1}
    parked = [Parked(place, found.rows[1], State.DEAD, attempts=5)]
    settlement = settlement_of(
        epochs, receipts=[found.receipt(0)], parked=parked, advances=[Advance(place, found.cursor)]
    )
    return len(await ground.store.settle(settlement))


async def handle_in_a_transaction(ground: Ground, found: Hand) -> bool:
    async with ground.store.transaction(found.receipt(0), found.lease.epoch) as transaction:
        if not transaction.passed:
            done = transaction.connection.execute("insert into effects values (1)")
            if ground.kind == "postgres":
                await done
        return transaction.passed


async def handle_in_a_thread(ground: Ground, found: Hand) -> bool:
    def handle() -> bool:
        with ground.store.transaction_sync(found.receipt(0), found.lease.epoch) as transaction:
            if not transaction.passed:
                transaction.connection.execute("insert into effects values (1)")
            return transaction.passed

    return await asyncio.to_thread(handle)


async def handle_and_fail(ground: Ground, found: Hand) -> str:
    try:
        async with ground.store.transaction(found.receipt(0), found.lease.epoch) as transaction:
            done = transaction.connection.execute("insert into effects values (1)")
            if ground.kind == "postgres":
                await done
            raise LookupError
    except LookupError:
        return "undone"


# Background


async def maintain(ground: Ground, found: Hand) -> int:
    return (await ground.store.maintain(retention=None)).dropped


async def add_samples(ground: Ground, found: Hand) -> None:
    subscription = found.lease.slice.subscription
    counted = Sampled(subscription, 7, 3, 2, 1, durations=(0,) * len(SECONDS) + (1,))
    await ground.store.add_samples(found.worker, [counted])


async def add_lags(ground: Ground, found: Hand) -> None:
    await ground.store.add_lags(found.worker)


async def publish_due(ground: Ground, _: Any) -> int:
    return await ground.store.publish_due(10)


async def two_due(scene: Scene) -> None:
    """And one that is refused, and one that is not due."""
    events = [event(key)._replace(due_at=due) for key, due in (("a", PAST), ("b", PAST), ("c", PAST), ("d", FUTURE))]
    await scene.store.append(events, atomic=True)
    await scene.store.append([events[1]._replace(key="other", due_at=None)], atomic=True)


async def cancel(ground: Ground, given: NewEvent) -> bool:
    return await ground.store.cancel(given.id)


async def one_scheduled(scene: Scene) -> NewEvent:
    given = event("a")._replace(due_at=FUTURE)
    await scene.store.append([given], atomic=True)
    return given


async def add_schedule(ground: Ground, _: None) -> None:
    await ground.store.add_schedules([(REPORT, PAST)])


async def advance_schedule(ground: Ground, given: tuple[Standing, NewEvent]) -> bool:
    standing, one = given
    return await ground.store.advance_schedule(standing, Firing((PAST,), FUTURE), [one])


async def a_schedule_that_is_due(scene: Scene) -> tuple[Standing, NewEvent]:
    await scene.store.add_schedules([(REPORT, PAST)])
    _, (standing,) = await scene.store.schedules([REPORT.name])
    return standing, event("a")._replace(is_new=True)


async def drop_what_is_old(ground: Ground, found: Hand) -> Any:
    done = await ground.store.maintain(retention=EVERYTHING_IS_OLD)
    return done.blocking


async def let_go(ground: Ground, found: Hand) -> None:
    store = ground.store
    for laggard in await store.laggards(retention=EVERYTHING_IS_OLD):
        left: Laggard | None = laggard
        while left and (page := await store.left_behind(left, limit=2, max_bytes=2**20)).position is not None:
            left = await store.let_go(left, page)
        if left is not None:
            await store.end_letting_go(left, archive=None, event_id=new_id())


async def left_behind(scene: Scene) -> Hand:
    """A subscription that lets go, with two events that it has not seen and one that failed."""
    found = await hand(scene, "a", "b", "c", patterns=("order.*",), behind_retention="drop")
    await scene.park(found.lease, found.rows[1:2], State.RETRYING)
    await scene.store.maintain(retention=None)  # by stored snapshots it is known what is old
    return found


async def all_handled(scene: Scene) -> Hand:
    found = await hand(scene, "a", "b", "c")
    await scene.settle(
        found.lease, receipts=[found.receipt(0), found.receipt(1)],
        parked=[Parked(found.lease.slice, found.rows[2], State.DEAD, attempts=5)],
        attempts=[failed(found.lease.slice, found.rows[2])], advances=[Advance(found.lease.slice, found.cursor)],
    )  # fmt: skip
    return found


REPORT = Schedule("report", "every 60", "UTC", "once", "acme")
PAST, FUTURE = datetime(2001, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)

_HANDLERS_OWN = (psycopg.Error, sqlite3.Error)

WORKING = [
    Operation("heartbeat", heartbeat, leased),
    Operation("acquire leases", acquire, a_subscription),
    Operation("renew leases", renew, leased, stages=1),
    Operation("release a lease", release, leased),
    Operation("mark a lease fast", mark_fast, usurped),
    Operation("leave", leave, a_worker),
    Operation("load cursors", cursors, leased, stages=1),
    Operation("read the log", read, three_read, stages=1),
    Operation("read the log by pages", read_by_pages, three_read, stages=1),
    Operation("ask what is known", known, four_parked, stages=1),
    Operation("count the unsettled", unsettled, four_parked, stages=1),
    Operation("ask for caused events", caused_since, three_read, stages=1),
    Operation("load blocked keys", blocked_keys, four_parked, stages=1),
    Operation("claim deliveries", claim, four_parked),
    Operation("load suspects", suspects, two_running, stages=1),
    Operation("take events in", take_in, three_read),
    Operation("begin an attempt", begin_attempt, two_running),
    Operation("settle one receipt", settle_one, three_read),
    Operation("settle everything there is", settle_everything, two_running),
    Operation("settle under an old epoch", settle_under_an_old_epoch, three_read),
    Operation("handle in a transaction", handle_in_a_transaction, three_read, raises=_HANDLERS_OWN),
    Operation("handle in a transaction of a thread", handle_in_a_thread, three_read, raises=_HANDLERS_OWN, cancels=False),
    Operation("fail in a transaction", handle_and_fail, three_read, stages=1, raises=_HANDLERS_OWN, forgives=True),
    Operation("keep house", maintain, all_handled, stages=None),
    # Told again after a lost answer, they are there twice: a chart may be wrong for a minute.
    Operation("add samples", add_samples, leased, stages=None, leaves_out=frozenset({"samples"})),
    Operation("add lags", add_lags, leased, stages=None, leaves_out=frozenset({"samples"})),
    Operation("let go of what is left behind", let_go, left_behind, stages=None),
    Operation("publish what is due", publish_due, two_due),
    Operation("cancel what is scheduled", cancel, one_scheduled),
    Operation("add a schedule", add_schedule),
    # Whose answer is lost finds it advanced, as if somebody else had been quicker.
    Operation("advance a schedule", advance_schedule, a_schedule_that_is_due, forgives=True),
    Operation("drop what is old", drop_what_is_old, all_handled, stages=None, drops_days=True),
]  # fmt: skip
