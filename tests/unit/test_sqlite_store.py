"""What is special in how the SQLite store keeps the protocol; what all stores promise is in tests/contract."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from holdfast.errors import InvalidEvent, MalformedEvent, NotFound
from holdfast.event import Event
from holdfast.stores.sqlite import SQLiteStore, slot_of
from holdfast.stores.values import (
    Appended,
    Cursor,
    Declaration,
    Parked,
    Place,
    Released,
    Revised,
    Slice,
    State,
    WorkerInfo,
)
from tests.unit.sqlite_harness import TTL, Clock, event, leased, rows_of, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from holdfast.stores.base import Store

protocol: type[Store] = SQLiteStore  # for the type checker

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


class TestAppending:
    async def test_the_same_fact_again_is_a_duplicate_however_it_is_written(self, store):
        first = event(payload=b'{"a":1,"b":[true,null,"x"]}')
        again = first._replace(payload=b'{ "b": [true, null, "\\u0078"], "a": 1 }')

        assert await store.append([first, first, again], atomic=True) == [
            Appended.STORED,
            Appended.DUPLICATE,
            Appended.DUPLICATE,
        ]

    @pytest.mark.parametrize(
        "change",
        [{"payload": b'{"a":true}'}, {"payload": b'{"a":1.0}'}, {"key": "k"}, {"tenant_id": "b"}, {"name": "b"}],
    )
    async def test_another_fact_under_the_id_is_a_conflict(self, store, change):
        first = event(payload=b'{"a":1}')
        await store.append([first], atomic=True)

        assert await store.append([first._replace(**change)], atomic=True) == [Appended.CONFLICT]

    async def test_a_conflict_stores_nothing_when_atomic_and_the_others_when_not(self, store):
        first = event()
        await store.append([first], atomic=True)
        batch = [event(), first._replace(key="other"), event()]

        await store.append(batch, atomic=True)
        assert len(await rows_of(store)) == 1
        assert await store.append(batch, atomic=False) == [Appended.STORED, Appended.CONFLICT, Appended.STORED]
        assert len(await rows_of(store)) == 3

    async def test_what_the_database_refuses_leaves_nothing(self, store):
        with pytest.raises(InvalidEvent, match="event_name_segments"):
            await store.append([event(), event(name="a b")], atomic=False)

        assert await rows_of(store) == []

    async def test_times_are_exact_and_default_to_the_clock(self, store, clock):
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        await store.append([event(occurred_at=first), event(occurred_at=last), event()], atomic=True)

        assert [Event(row).occurred_at for row in await rows_of(store)] == [first, last, clock()]


class TestReading:
    async def test_a_window_is_paged_by_position(self, store):
        await store.append([event(key=str(number)) for number in range(5)], atomic=True)
        reader = await store.reader()

        first = await reader.read(Cursor("0"), limit=2, max_bytes=2**20)
        await store.append([event(key="later")], atomic=True)
        second = await reader.read(first.cursor, limit=2, max_bytes=2**20)
        third = await reader.read(second.cursor, limit=2, max_bytes=2**20)
        await reader.close()

        assert [row.key for page in (first, second, third) for row in page.rows] == ["0", "1", "2", "3", "4"]
        assert first.cursor == Cursor("0", "5", 3)
        assert third.cursor == Cursor("5")

    async def test_a_page_ends_after_the_event_that_passes_the_bytes(self, store):
        await store.append([event(payload=b'"123456"') for _ in range(4)], atomic=True)
        reader = await store.reader()
        page = await reader.read(Cursor("0"), limit=10, max_bytes=10)
        await reader.close()

        assert len(page.rows) == 2
        assert page.cursor == Cursor("0", "4", 3)

    async def test_a_window_ends_at_the_horizon_given(self, store):
        await store.append([event()], atomic=True)
        reader = await store.reader()
        horizon = await reader.horizon()
        await store.append([event()], atomic=True)
        page = await reader.read(Cursor("0"), horizon=horizon, limit=10, max_bytes=2**20)
        await reader.close()

        assert (len(page.rows), page.cursor, page.horizon) == (1, Cursor("1"), "1")

    async def test_a_place_that_names_no_position_is_read_from_its_beginning(self, store):
        def leap(session):
            with session.write():
                session.connection.execute("update sqlite_sequence set seq = 200000 where name = 'event_log'")

        await store.append([event()], atomic=True)
        await store._writer.run(leap)
        await store.append([event(), event()._replace(tenant_id="left out")], atomic=True)
        reader = await store.reader()
        page = await reader.read(Cursor("200000", "200002"), without=["left out"], limit=10, max_bytes=2**20)
        assert [row.position for row in page.rows] == [200_001]
        assert page.cursor == Cursor("200002")
        await reader.close()

    async def test_the_horizon_stays_when_retention_has_dropped_everything(self, store, clock):
        await store.append([event(), event()], atomic=True)
        await store.maintain(retention=None)
        clock.move(10)
        await store.maintain(retention=5)
        reader = await store.reader()

        assert await reader.horizon() == "2"
        assert (await reader.read(Cursor("2"), limit=1, max_bytes=1)).cursor == Cursor("2")
        await reader.close()

    async def test_the_slot_is_the_hash_of_tenant_and_key(self, store):
        await store.append([event(key="é"), event(key="é"), event()], atomic=True)
        one, two, keyless = await rows_of(store)

        assert one.slot == two.slot == slot_of("acme", "é", one.id)
        assert keyless.slot == slot_of("acme", None, keyless.id)


class TestMalformedRecords:
    @pytest.mark.parametrize(
        "damage",
        [
            "id = 'no uuid'",
            "id = x'ff00'",
            "occurred_at = 'yesterday'",
            "occurred_at = x'ff'",
            "payload = x'ff'",
            "payload = '{'",
            "tenant_id = x'ff', event_name = x'ff'",
        ],
    )
    async def test_they_neither_stop_the_reader_nor_the_view(self, tmp_path, damage):
        store = SQLiteStore(str(tmp_path / "events.db"))
        await store.open()
        lease = await leased(store)
        await store.append([event(), event()], atomic=True)
        with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as sql:
            sql.execute("pragma ignore_check_constraints = on")
            sql.execute(f"update event_log set {damage} where position = 1")

        bad, good = await rows_of(store)
        assert len(bad.id) == 16
        if "tenant" not in damage:
            with pytest.raises(MalformedEvent):
                _ = Event(bad).payload
        assert Event(good).payload == {"order_id": 1}

        await settle(store, lease, parked=[Parked(lease.slice, bad, State.RETRYING, 1)])
        ((due,), *_) = await store.claim({lease.slice: lease.epoch}, limit=1)
        assert due.row.id == bad.id
        await settle(store, lease, revised=[Revised(lease.slice, due.delivery, due.claim, State.DEAD, 1)])
        with closing(sqlite3.connect(tmp_path / "events.db")) as sql:
            sql.text_factory = bytes
            assert sorted(sql.execute("select status from event_store")) == [(b"dead",), (b"pending",)]
        await store.close()


class TestRegistration:
    async def test_where_a_subscription_starts(self, store, clock):
        old, new = event(occurred_at=datetime(2020, 1, 1, tzinfo=UTC)), event()
        await store.append([old, new], atomic=True)
        starts = {
            "now": ("now", Cursor("2")),
            "beginning": ("beginning", Cursor("0", "2", 0)),
            "time": (clock(), Cursor("0", "2", 2)),
            "future": (datetime(2040, 1, 1, tzinfo=UTC), Cursor("2")),
            "event": (new.id, Cursor("0", "2", 2)),
        }
        for name, (start, _) in starts.items():
            await store.register([Declaration(name, ("**",), partitions=1, start=start)])

        for one in await store.subscriptions():
            cursors = await store.places([Slice(one.id, 0)])
            assert cursors == {Slice(one.id, 0): Place(starts[one.name][1])}, one.name

    async def test_an_unknown_event_to_start_from_registers_nothing(self, store):
        with pytest.raises(NotFound):
            await store.register([Declaration("a", ("**",)), Declaration("b", ("**",), start=uuid4())])

        assert await store.subscriptions() == []

    async def test_only_a_change_grows_the_generation(self, store):
        async def generation() -> int:
            reader = await store.reader()
            page = await reader.read(Cursor("0"), limit=1, max_bytes=1)
            await reader.close()
            return page.generation

        await store.register([Declaration("a", ("**",))])
        before = await generation()
        await store.register([Declaration("a", ("**",))])
        assert await generation() == before
        await store.register([Declaration("a", ("b",))])
        assert await generation() == before + 1


class TestLeases:
    async def test_an_expired_lease_is_lost_and_a_released_one_is_not(self, store, clock):
        first, second, third = uuid4(), uuid4(), uuid4()
        lease = await leased(store, worker=first)
        wanted = {lease.slice.subscription: 1}
        assert (lease.epoch, lease.clean, lease.lost, lease.crashes) == (1, True, False, 0)
        assert await store.acquire(second, wanted, ttl=TTL) == []

        clock.move(TTL)
        (taken,) = await store.acquire(second, wanted, ttl=TTL)
        assert (taken.epoch, taken.clean, taken.lost, taken.crashes) == (2, False, True, 1)
        assert await store.renew(first, {lease.slice: lease.epoch}, ttl=TTL) == set()

        await store.mark_fast(second, {taken.slice: taken.epoch})
        await store.release(second, [Released(taken.slice, taken.epoch, Cursor("7"), exact=False)])
        (again,) = await store.acquire(third, wanted, ttl=TTL)
        assert (again.epoch, again.clean, again.lost, again.crashes) == (3, False, False, 0)
        assert again.cursor == Cursor("7")

        await store.release(third, [Released(again.slice, again.epoch, Cursor("8"), exact=True)])
        ((clean),) = await store.acquire(first, wanted, ttl=TTL)
        assert (clean.clean, clean.cursor) == (True, Cursor("8"))

    async def test_a_dead_owner_s_lease_is_taken_at_once(self, store):
        owner = uuid4()
        lease = await leased(store, worker=owner)

        (taken,) = await store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL, dead=[owner])
        assert taken.lost

    async def test_a_lease_from_before_the_clock_stepped_back_counts_as_expired(self, store, clock):
        lease = await leased(store)
        clock.move(-10 * TTL)

        assert len(await store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)) == 1

    async def test_the_roster_shows_who_lives_and_what_is_free(self, store, clock):
        lease = await leased(store)
        worker = WorkerInfo(uuid4(), "host", "boot", 1, "0", "1.0", (lease.slice.subscription,))
        await store.heartbeat(worker, ttl=TTL)
        clock.move(TTL)

        other = WorkerInfo(uuid4(), "host", "boot", 2, "0", "1.0", (lease.slice.subscription,), draining=True)
        roster = await store.heartbeat(other, ttl=TTL)
        assert roster.workers == (other,)
        assert [(state.slice, state.free) for state in roster.leases] == [(lease.slice, True)]
        await store.leave(other.id)
        assert len((await store.heartbeat(worker, ttl=TTL)).workers) == 1
