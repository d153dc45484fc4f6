"""Appending: what is stored, in which order, and what becomes of an id that comes again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_DNS, UUID, uuid1, uuid3, uuid4, uuid5

import pytest

from holdfast.errors import InvalidEvent, NotInTransaction, TransactionError, WrongStore
from holdfast.event import Event
from holdfast.ids import new_id, uuid7
from holdfast.ports import wall_millis
from holdfast.stores import make_store
from holdfast.stores.values import Appended
from tests.contract.harness import event, keys_of

STORED, DUPLICATE, CONFLICT = Appended.STORED, Appended.DUPLICATE, Appended.CONFLICT
HOUR = 3600 * 1000  # milliseconds
shared = pytest.mark.parametrize("scene", ["file", "postgres", "simulated"], indirect=True)


def new(*keys):
    """Events with ids that were made for them."""
    return [event(key)._replace(is_new=True) for key in keys]


def aged(hours: float) -> UUID:
    """An id of version 7 that is so old; negative: of the future."""
    return uuid7(wall_millis() - int(hours * HOUR), uuid4().bytes[:10])


class TestWhatIsStored:
    async def test_an_event_is_read_as_it_was_given(self, scene):
        moment = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
        text = '{"a": [1, 2.50,\t"\u00e9\u20ac\U0001f600"], "z":null}'.encode()
        given = event("key \u00e9", name="a.b-c:d/e_1", payload=text, headers=b'{"h": "1"}', occurred_at=moment)
        lease = await scene.leased()
        assert await scene.store.append([given], atomic=True) == [STORED]
        (row,) = await scene.rows(lease)
        assert (row.id, row.tenant_id, row.name, row.key) == (given.id.bytes, "acme", "a.b-c:d/e_1", "key \u00e9")
        assert (row.payload, row.headers, Event(row).occurred_at) == (text, b'{"h": "1"}', moment)

    async def test_what_is_not_given_is_none_and_the_time_is_the_stores(self, scene):
        lease = await scene.leased()
        before = datetime.now(UTC)
        await scene.publish(None)
        (row,) = await scene.rows(lease)
        assert (row.key, row.headers) == (None, None)
        assert abs(Event(row).occurred_at - before) < timedelta(minutes=1)

    @pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
    async def test_any_time_is_kept_exactly(self, scene, moment):
        lease = await scene.leased()
        await scene.publish("k", occurred_at=moment)
        assert Event((await scene.rows(lease))[0]).occurred_at == moment

    async def test_the_same_key_gives_the_same_slot_and_without_a_key_the_id_does(self, scene):
        lease = await scene.leased()
        await scene.publish("a", "b", "a", None, None, None, None)
        first, other, again, *keyless = await scene.rows(lease)
        assert first.slot == again.slot
        assert len({row.slot for row in (first, other, *keyless)}) > 2
        assert all(0 <= row.slot < 2**15 for row in (first, other, *keyless))

    async def test_what_the_database_refuses_leaves_nothing(self, scene):
        with pytest.raises(InvalidEvent):
            await scene.store.append([event("a"), event("b", name="not a name")], atomic=False)
        assert await scene.stored() == []

    async def test_nothing_to_store_is_fine(self, scene):
        assert await scene.store.append([], atomic=True) == []


class TestOrder:
    async def test_a_batch_keeps_its_order(self, scene):
        lease = await scene.leased()
        keys = [str(number) for number in range(500)]
        await scene.publish(*keys)
        rows = await scene.rows(lease)
        assert keys_of(rows) == keys
        assert [row.position for row in rows] == sorted({row.position for row in rows})

    async def test_ids_decide_nothing_about_the_order(self, scene):
        lease = await scene.leased()
        ids = sorted((new_id() for _ in range(50)), reverse=True)
        await scene.store.append([event(str(n), event_id=one) for n, one in enumerate(ids)], atomic=True)
        assert keys_of(await scene.rows(lease)) == [str(n) for n in range(50)]

    async def test_old_and_new_ids_in_one_batch_keep_their_order(self, scene):
        lease = await scene.leased()
        ids = [new_id(), uuid4(), aged(30), new_id(), aged(1), uuid4()]
        await scene.store.append([event(str(n), event_id=one) for n, one in enumerate(ids)], atomic=True)
        assert keys_of(await scene.rows(lease)) == list("012345")

    async def test_ten_thousand_in_one_call(self, scene):
        lease = await scene.leased()
        events = [event(str(number)) for number in range(10_000)]
        assert await scene.store.append(events, atomic=True) == [STORED] * 10_000
        rows, _ = await scene.read_all(lease.cursor)
        assert [row.id for row in rows] == [one.id.bytes for one in events]
        assert await scene.store.append(events, atomic=True) == [DUPLICATE] * 10_000


class TestAnIdThatComesAgain:
    async def test_with_the_same_content_is_the_same_event(self, scene):
        first = event("a", payload=b'{"a": 1, "b": [true, "x"]}')
        written_otherwise = first._replace(payload=b'{ "b":[true,"\\u0078"],"a":1 }')
        assert await scene.store.append([first], atomic=True) == [STORED]
        assert await scene.store.append([first], atomic=True) == [DUPLICATE]
        assert await scene.store.append([written_otherwise], atomic=False) == [DUPLICATE]
        assert await scene.stored() == ["a"]

    @pytest.mark.parametrize(
        "change", [{"payload": b'{"order_id":2}'}, {"key": "b"}, {"tenant_id": "b"}, {"name": "b"}, {"key": None}]
    )
    async def test_with_other_content_is_a_conflict(self, scene, change):
        (first,) = await scene.publish("a")
        assert await scene.store.append([first._replace(**change)], atomic=True) == [CONFLICT]
        assert await scene.store.append([first._replace(**change)], atomic=False) == [CONFLICT]
        assert await scene.stored() == ["a"]

    async def test_a_conflict_stores_none_of_an_atomic_batch_and_the_others_of_another(self, scene):
        (first,) = await scene.publish("a")
        batch = [event("b"), first._replace(name="other"), event("c"), first]
        await scene.store.append(batch, atomic=True)
        assert await scene.stored() == ["a"]
        assert await scene.store.append(batch, atomic=False) == [STORED, CONFLICT, STORED, DUPLICATE]
        assert await scene.stored() == ["a", "b", "c"]

    @pytest.mark.parametrize("old", [False, True])
    async def test_within_one_batch_the_first_counts(self, scene, old):
        first = event("a", event_id=uuid4() if old else None)
        other = first._replace(key="b")
        assert await scene.store.append([first, other], atomic=True) != [STORED, STORED]
        assert await scene.stored() == []
        outcome = await scene.store.append([first, first, other, event("c")], atomic=False)
        assert outcome == [STORED, DUPLICATE, CONFLICT, STORED]
        assert await scene.stored() == ["a", "c"]

    @pytest.mark.parametrize(
        "event_id",
        [
            uuid1(), uuid3(NAMESPACE_DNS, "a"), uuid4(), uuid5(NAMESPACE_DNS, "a"), aged(-24 * 365), aged(19.99), aged(21),
            aged(26), aged(24 * 365 * 20), uuid7(0, bytes(10)), UUID(int=2**128 - 1), UUID(int=1), aged(-23),
        ],
        ids=["v1", "v3", "v4", "v5", "of next year", "20 h", "21 h", "26 h", "20 years", "of 1970", "max", "one", "of tomorrow"],
    )  # fmt: skip
    async def test_ids_of_any_age_and_version_are_stored_once(self, scene, event_id):
        first = event("a", event_id=event_id)
        assert await scene.store.append([first], atomic=True) == [STORED]
        assert await scene.store.append([first], atomic=True) == [DUPLICATE]
        assert await scene.store.append([event("b"), first], atomic=False) == [STORED, DUPLICATE]
        assert await scene.store.append([first._replace(key="c")], atomic=True) == [CONFLICT]
        assert await scene.stored() == ["a", "b"]

    @shared
    @pytest.mark.parametrize("old", [False, True])
    async def test_of_many_that_store_it_at_once_one_does(self, scene, old):
        one = event("a", event_id=uuid4() if old else None)
        stores = [scene.store, await scene.rival(), await scene.rival()]
        outcomes = await asyncio.gather(*(store.append([one], atomic=n % 2 == 0) for n, store in enumerate(stores * 5)))
        assert sorted(str(outcome) for (outcome,) in outcomes) == [str(DUPLICATE)] * 14 + [str(STORED)]
        assert await scene.stored() == ["a"]


class TestAnIdThatWasMadeForIt:
    """`NewEvent.is_new`: the store need not look for it first."""

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize("number", [1, 2, 1_000, 2_500])
    async def test_all_are_stored_in_the_order_given(self, scene, number, atomic):
        given = new(*(str(n) for n in range(number)))
        assert await scene.store.append(given, atomic=atomic) == [STORED] * number
        assert await scene.stored() == [one.key for one in given]

    @pytest.mark.parametrize("atomic", [True, False])
    async def test_one_that_is_there_after_all_is_a_repeat_or_a_conflict(self, scene, atomic):
        known, other, fresh = new("a", "b", "c")
        await scene.store.append([known], atomic=atomic)
        assert await scene.store.append([known], atomic=atomic) == [DUPLICATE]
        assert await scene.store.append([known, other], atomic=atomic) == [DUPLICATE, STORED]
        assert (await scene.store.append([known._replace(payload=b"2"), fresh], atomic=atomic))[0] is CONFLICT
        assert await scene.stored() == (["a", "b"] if atomic else ["a", "b", "c"])

    async def test_of_many_one_that_is_there_undoes_none_of_the_others(self, scene):
        given = new(*(str(n) for n in range(2_500)))
        await scene.store.append([given[1_700]], atomic=True)
        outcome = await scene.store.append(given, atomic=True)
        assert outcome == [STORED] * 1_700 + [DUPLICATE] + [STORED] * 799
        assert len(await scene.stored()) == 2_500

    async def test_beside_one_that_was_given_it_is_looked_for(self, scene):
        (fresh,), given = new("a"), event("b")
        await scene.store.append([given], atomic=True)
        assert await scene.store.append([fresh, given], atomic=True) == [STORED, DUPLICATE]
        assert await scene.stored() == ["b", "a"]


@shared
class TestThroughTheCallersTransaction:
    @pytest.fixture
    def connection(self, scene):
        connection = scene.connect()
        yield connection
        connection.close()

    async def test_it_is_seen_once_that_commits(self, scene, connection):
        connection.execute("create table mine (n int)")
        connection.execute("insert into mine values (1)")
        given = [event("a"), event("b")]
        assert await scene.store.append_within(connection, given) == [STORED, STORED]
        assert await scene.stored() == []
        connection.commit()
        assert await scene.stored() == ["a", "b"]

    async def test_it_never_was_when_that_rolls_back(self, scene, connection):
        connection.execute("create table mine (n int)")
        connection.execute("insert into mine values (1)")
        await scene.store.append_within(connection, [event("a")])
        connection.rollback()
        assert await scene.stored() == []

    async def test_a_savepoint_takes_back_its_own_part(self, scene, connection):
        connection.execute("begin")
        await scene.store.append_within(connection, [event("a")])
        connection.execute("savepoint one")
        await scene.store.append_within(connection, [event("b")])
        connection.execute("rollback to savepoint one")
        await scene.store.append_within(connection, [event("c")])
        connection.commit()
        assert await scene.stored() == ["a", "c"]

    @pytest.mark.parametrize("old", [False, True])
    async def test_repeats_and_conflicts_are_told_and_a_conflict_stores_none_of_the_others(
        self, scene, connection, old
    ):
        first = event("a", event_id=uuid4() if old else None)
        await scene.store.append([first], atomic=True)
        connection.execute("begin")
        assert scene.store.append_within_sync(connection, [first, event("b")]) == [DUPLICATE, STORED]
        assert scene.store.append_within_sync(connection, [first._replace(name="x")]) == [CONFLICT]
        connection.commit()
        assert await scene.stored() == ["a", "b"]

    async def test_a_connection_in_autocommit_without_a_transaction_is_refused(self, scene, connection):
        if scene.kind == "postgres":
            connection.autocommit = True
        else:
            connection.isolation_level = None
        with pytest.raises(NotInTransaction):
            await scene.store.append_within(connection, [event("a")])
        assert await scene.stored() == []

    async def test_a_connection_to_another_store_is_refused(self, scene, connection, tmp_path, postgres_dsn):
        other_dsn = postgres_dsn if scene.kind == "postgres" else f"sqlite:///{tmp_path / 'other.db'}"
        other = make_store(other_dsn, timeout=10)
        await other.migrate()
        await other.open()
        connection.execute("begin")
        with pytest.raises(WrongStore):
            await other.append_within(connection, [event("a")])
        connection.rollback()
        await other.close()
        assert await scene.stored() == []

    async def test_what_is_no_connection_is_refused_by_name(self, scene):
        with pytest.raises(TransactionError, match="dict"):
            await scene.store.append_within({}, [event("a")])
