"""Delivery rows, what is unsettled, and retention, in the SQLite store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from holdfast.errors import LeaseLost
from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.values import Advance, Cursor, Parked, Place, Receipt, State, WorkerInfo
from tests.unit.sqlite_harness import TTL, Clock, event, leased, rows_of, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FILE, MEMORY = "file", "memory"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[FILE, MEMORY])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(str(tmp_path / "events.db") if request.param == FILE else None, clock=clock)
    await store.open()
    yield store
    await store.close()


class TestDeliveries:
    async def test_nothing_is_taken_from_behind_its_key(self, store, clock):
        lease = await leased(store)
        await store.append([event(key="k"), event(key="k"), event(key="other"), event()], atomic=True)
        rows = await rows_of(store)
        await settle(
            store, lease,
            parked=[
                Parked(lease.slice, rows[0], State.RETRYING, 1, due_in=60),
                *(Parked(lease.slice, row, State.PENDING) for row in rows[1:]),
            ],
        )  # fmt: skip
        epochs = {lease.slice: lease.epoch}

        claim = await store.claim(epochs, limit=10)
        assert [due.row.position for due in claim.due] == [3, 4]
        assert claim.next_in == pytest.approx(60)
        assert await store.blocked_keys([lease.slice]) == {
            lease.slice: {("acme", "k"): 2, ("acme", "other"): 1},
        }

        clock.move(60)
        claim = await store.claim(epochs, limit=10)
        assert [due.row.position for due in claim.due] == [1, 2]
        assert (await store.claim(epochs, limit=10)).due == []
        assert [due.row.position for due in await store.suspects([lease.slice])] == [1, 2, 3, 4]

    async def test_a_dead_one_holds_its_key_only_where_the_subscription_says_so(self, store):
        await store.append([event(key="k"), event(key="k")], atomic=True)
        rows = await rows_of(store)
        for policy, free in (("hold", 0), ("continue", 1)):
            lease = await leased(store, name=policy, on_dead=policy)
            await settle(
                store, lease,
                parked=[Parked(lease.slice, rows[0], State.DEAD, 5), Parked(lease.slice, rows[1], State.PENDING)],
            )  # fmt: skip
            assert len((await store.claim({lease.slice: lease.epoch}, limit=9)).due) == free

    async def test_an_old_epoch_writes_plain_receipts_and_nothing_else(self, store, clock):
        lease = await leased(store)
        await store.append([event(), event()], atomic=True)
        one, two = await rows_of(store)
        clock.move(TTL)
        (new,) = await store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)

        lost = await settle(
            store, lease,
            receipts=[Receipt(lease.slice, one.id, 0)],
            parked=[Parked(lease.slice, two, State.DEAD, 1)],
            advances=[Advance(lease.slice, Cursor("2"))],
            events=[(lease.slice, event())],
        )  # fmt: skip

        assert lost == {lease.slice}
        assert await store.known(lease.slice.subscription, [(one.id, 0), (two.id, 0)]) == {one.id}
        assert await store.places([lease.slice]) == {lease.slice: Place(new.cursor)}
        assert len(await rows_of(store)) == 2
        assert (await store.claim({lease.slice: lease.epoch}, limit=1)).due == []
        with pytest.raises(LeaseLost):
            await store.take_in(lease.slice, lease.epoch, [two])

    async def test_taking_in_again_gives_the_same_rows(self, store):
        lease = await leased(store)
        await store.append([event(), event()], atomic=True)
        rows = await rows_of(store)

        taken = await store.take_in(lease.slice, lease.epoch, rows)
        assert [due.row for due in taken] == rows
        assert await store.take_in(lease.slice, lease.epoch, rows) == taken
        assert await store.begin_attempt(taken[0], lease.epoch)
        suspect, untouched = await store.suspects([lease.slice])
        assert (suspect.attempts, suspect.lost, untouched.lost) == (1, True, False)

    async def test_a_row_with_a_receipt_says_that_it_was_handled(self, store):
        lease = await leased(store)
        await store.append([event()], atomic=True)
        (row,) = await rows_of(store)
        await settle(
            store, lease, receipts=[Receipt(lease.slice, row.id, 0)], parked=[Parked(lease.slice, row, State.PENDING)]
        )

        ((due,), *_) = await store.claim({lease.slice: lease.epoch}, limit=1)
        assert due.handled

    async def test_what_is_unsettled(self, store):
        lease = await leased(store, patterns=("order.*",))
        await store.append([event(), event(), event("invoice.sent"), event(), event()], atomic=True)
        rows = await rows_of(store)
        subscription = lease.slice.subscription
        assert await store.unsettled([subscription], "4") == {subscription: 3}

        await settle(
            store, lease,
            receipts=[Receipt(lease.slice, rows[0].id, 0)],
            parked=[Parked(lease.slice, rows[1], State.RETRYING, 1), Parked(lease.slice, rows[3], State.DEAD, 5)],
        )  # fmt: skip
        assert await store.unsettled([subscription], "4") == {subscription: 1}
        await settle(store, lease, advances=[Advance(lease.slice, Cursor("5"))])
        assert await store.unsettled([subscription], "5") == {subscription: 1}

    async def test_what_was_caused_since(self, store):
        await store.append(
            [event(headers=b'{"causation_id":"x"}'), event(headers=b'{"correlation_id":"x"}')], atomic=True
        )

        assert await store.caused_since("0")
        assert not await store.caused_since("1")


class TestRetention:
    async def test_it_goes_by_when_an_event_was_stored_and_keeps_dead_letters(self, store, clock):
        lease = await leased(store)
        await store.append([event(headers=b'{"h":"1"}', occurred_at=datetime(9999, 1, 1, tzinfo=UTC))], atomic=True)
        await store.append([event()], atomic=True)
        await store.maintain(retention=60)
        clock.move(50)
        await store.append([event(occurred_at=datetime(1, 1, 1, tzinfo=UTC))], atomic=True)
        rows = await rows_of(store)
        await settle(
            store, lease,
            parked=[Parked(lease.slice, rows[0], State.DEAD, 5)],
            receipts=[Receipt(lease.slice, row.id, 0) for row in rows[1:]],
            advances=[Advance(lease.slice, Cursor("3"))],
        )  # fmt: skip
        clock.move(20)

        assert await store.maintain(retention=60) == (2, ())
        assert [row.position for row in await rows_of(store)] == [3]
        known = await store.known(lease.slice.subscription, [(row.id, 0) for row in rows])
        assert known == {rows[0].id, rows[2].id}

        await store._writer.run(lambda session: session.connection.execute("update deliveries set state = 'running'"))
        (due,) = await store.suspects([lease.slice])
        assert due.row == rows[0]

    async def test_what_a_subscription_still_waits_for_stays_and_is_named(self, store, clock):
        lease = await leased(store, patterns=("order.*",))
        await leased(store, name="idle", patterns=("other.*",))
        await store.append([event("invoice.sent"), event(), event("invoice.sent")], atomic=True)
        await store.maintain(retention=60)
        clock.move(61)

        assert await store.maintain(retention=60) == (1, ("billing",))
        await settle(store, lease, advances=[Advance(lease.slice, Cursor("3"))])
        assert await store.maintain(retention=60) == (2, ())

    async def test_an_unsettled_delivery_keeps_its_event(self, store, clock):
        lease = await leased(store)
        await store.append([event(), event()], atomic=True)
        _, second = await rows_of(store)
        await settle(
            store, lease,
            parked=[Parked(lease.slice, second, State.RETRYING, 1)],
            advances=[Advance(lease.slice, Cursor("2"))],
        )  # fmt: skip
        await store.maintain(retention=60)
        clock.move(61)

        assert await store.maintain(retention=60) == (1, ("billing",))

    async def test_dead_workers_are_forgotten(self, store, clock):
        worker = WorkerInfo(UUID(int=1), "host", "boot", 1, "0", "1.0", ())
        await store.heartbeat(worker, ttl=TTL)
        clock.move(601)
        await store.maintain(retention=None)

        ((count,),) = await store._writer.run(
            lambda session: session.connection.execute("select count(*) from workers").fetchall()
        )
        assert count == 0
