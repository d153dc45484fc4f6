"""Letting go: a subscription that lags behind retention keeps the log, or lets go of it, as it has chosen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.archive import Archive, read
from holdfast.errors import NotFound
from holdfast.ids import new_id
from holdfast.stores.inspector import make_inspector
from holdfast.stores.values import Advance, Maintenance, Parked, Receipt, Settlement, State
from tests.contract.aging import A_DAY, aging
from tests.contract.harness import failed, keys_of, settlement_of

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.event import NewEvent, Row
    from holdfast.stores.values import Laggard, Lease

BOUNDS = {"limit": 1000, "max_bytes": 2**20}


async def publish(scene, *keys: str, **fields: Any) -> list[NewEvent]:
    """Store events, three days ago."""
    events = await scene.publish(*keys, **fields)
    for statement in aging(is_sqlite=scene.kind != "postgres"):
        await scene.sql(statement)
    return events


async def let_go(scene, laggard: Laggard, **bounds: int) -> list[Row]:
    """Let go of all that a laggard left behind; returns it."""
    rows: list[Row] = []
    while (page := await scene.store.left_behind(laggard, **BOUNDS | bounds)).position is not None:
        rows += page.rows
        laggard = await scene.store.let_go(laggard, page)
    assert await scene.store.end_letting_go(laggard, archive=None, event_id=new_id())
    return rows


async def laggards(scene, retention: float = A_DAY) -> list[Laggard]:
    return await scene.store.laggards(retention=retention)


async def maintain(scene) -> Maintenance:
    return await scene.store.maintain(retention=A_DAY)


async def facts_of_audit(scene) -> list[Any]:
    rows = await scene.sql("select actor, action, target, cast(detail as text), count from audit order by id")
    return [(*row[:3], json.loads(row[3]), row[4]) for row in rows]


class TestWhoLetsGo:
    async def test_nobody_who_holds_which_is_what_they_do_unless_they_say_so(self, scene):
        await scene.leased("laggard")
        await publish(scene, "a")
        assert await laggards(scene) == []
        assert await scene.store.near_retention(A_DAY) == ()
        assert await maintain(scene) == (0, ("laggard",))

    @pytest.mark.parametrize("choice", ["archive", "drop"])
    async def test_whoever_chose_to(self, scene, choice):
        subscription = await scene.subscribe("laggard", behind_retention=choice)
        await publish(scene, "a")
        (found,) = await laggards(scene)
        assert found[:3] == (subscription.id, "laggard", choice)
        assert await scene.store.near_retention(A_DAY) == ("laggard",)

    async def test_nobody_before_it_is_time(self, scene):
        await scene.subscribe("laggard", behind_retention="drop")
        await publish(scene, "a")
        assert await laggards(scene, 4 * A_DAY) == []
        assert await scene.store.near_retention(4 * A_DAY) == ()
        assert await scene.store.near_retention(1.5 * A_DAY) == ("laggard",)

    async def test_nobody_who_has_handled_it(self, scene):
        lease = await scene.leased("quick", behind_retention="drop")
        await publish(scene, "a")
        await scene.handle_all(lease)
        assert await laggards(scene) == []
        assert await maintain(scene) == (1, ())

    async def test_nobody_while_another_one_holds_it(self, scene):
        await scene.subscribe("laggard", behind_retention="drop")
        await scene.subscribe("holder")
        await publish(scene, "a")
        assert await laggards(scene) == []
        assert await maintain(scene) == (0, ("holder", "laggard"))
        assert await scene.stored() == ["a"]

    async def test_the_choice_declared_last_counts(self, scene):
        await scene.subscribe("laggard", behind_retention="drop")
        assert (await scene.subscribe("laggard")).behind_retention == "hold"
        await publish(scene, "a")
        assert await laggards(scene) == []
        assert (await scene.subscribe("laggard", behind_retention="archive")).behind_retention == "archive"
        assert [one.choice for one in await laggards(scene)] == ["archive"]


class TestWhatIsLetGo:
    async def test_is_what_was_not_handled_and_then_the_log_drops_it(self, scene):
        lease = await scene.leased("laggard", behind_retention="drop")
        await publish(scene, "a", "b")
        await scene.handle_all(lease)
        await publish(scene, "c", "d")
        (found,) = await laggards(scene)
        assert keys_of(await let_go(scene, found)) == ["c", "d"]
        assert await scene.stored() == ["a", "b", "c", "d", "laggard"]  # the last one is the news of it
        assert await maintain(scene) == (4, ())
        assert await scene.stored() == ["laggard"]

    async def test_is_found_page_by_page(self, scene):
        await scene.subscribe("laggard", behind_retention="drop")
        await publish(scene, *"abcde")
        (found,) = await laggards(scene)
        page = await scene.store.left_behind(found, limit=2, max_bytes=2**20)
        assert keys_of(page.rows) == ["a", "b"]
        page = await scene.store.left_behind(found, limit=1000, max_bytes=1)
        assert keys_of(page.rows) == ["a"]
        assert keys_of(await let_go(scene, found, limit=2)) == list("abcde")

    async def test_is_as_it_was_stored(self, scene):
        await scene.subscribe("laggard", behind_retention="archive")
        (event,) = await publish(scene, "a", payload=b'{"kept":  "as written"}', headers=b'{"h":"1"}')
        (found,) = await laggards(scene)
        ((row,), *_) = await scene.store.left_behind(found, **BOUNDS)
        assert (row.id, row.tenant_id, row.name, row.key) == (event.id.bytes, "acme", "order.placed", "a")
        assert (row.payload, json.loads(row.headers)) == (b'{"kept":  "as written"}', {"h": "1"})

    async def test_is_nothing_that_its_patterns_do_not_mean_or_that_was_before_its_start(self, scene):
        await publish(scene, "before")
        await scene.subscribe("laggard", patterns=("order.*",), start="now", behind_retention="drop")
        await publish(scene, "other", name="stock.moved")
        await publish(scene, "mine")
        (found,) = await laggards(scene)
        assert keys_of(await let_go(scene, found)) == ["mine"]

    @pytest.mark.parametrize("state", [State.PENDING, State.RETRYING, State.RUNNING])
    async def test_is_a_delivery_that_waits_which_is_discarded(self, scene, state):
        lease = await scene.leased("laggard", behind_retention="drop")
        await publish(scene, "a")
        await scene.park(lease, await scene.handle_all(lease), state)
        (found,) = await laggards(scene)
        generation = await scene.sql("select generation from meta")
        assert keys_of(await let_go(scene, found)) == ["a"]
        assert await scene.deliveries() == {"a": "discarded"}
        assert await scene.sql("select generation from meta") > generation  # workers reload

    async def test_is_nothing_that_is_settled_dead_or_discarded(self, scene):
        lease = await scene.leased("laggard", behind_retention="drop")
        await publish(scene, "handled", "dead", "discarded", "left")
        handled, dead, discarded, _ = await scene.rows(lease)
        await scene.park(lease, [dead], State.DEAD)
        await scene.park(lease, [discarded], State.DISCARDED)
        await scene.settle(lease, revised=[])
        await scene.store.settle(settlement_of(receipts=[Receipt(lease.slice, handled.id, handled.day)]))
        (found,) = await laggards(scene)
        assert keys_of(await let_go(scene, found)) == ["left"]
        await maintain(scene)
        assert await scene.deliveries() == {"dead": "dead"}

    async def test_is_told_by_an_audit_row_and_an_event(self, scene):
        await scene.subscribe("laggard", behind_retention="drop")
        await publish(scene, "a", "b", "c")
        positions = [position for (position,) in await scene.sql("select position from event_log order by position")]
        (found,) = await laggards(scene)
        await let_go(scene, found)
        ((actor, action, target, detail, count),) = await facts_of_audit(scene)
        assert (actor, action, target, count) == ("retention", "let go", "laggard", 3)
        told = {"choice": "drop", "first_position": positions[0], "last_position": positions[-1]}
        assert told.items() <= detail.items()
        ((name, tenant, text),) = await scene.sql(
            "select event_name, tenant_id, cast(payload as text) from event_log where event_key = 'laggard'"
        )
        assert (name, tenant) == ("holdfast.subscription.let_go", "default")
        assert ({"subscription": "laggard", "events": 3} | told).items() <= json.loads(text).items()

    async def test_of_nothing_there_is_no_record(self, scene):
        await scene.subscribe("laggard", patterns=("stock.*",), behind_retention="drop")
        await publish(scene, "a")
        for found in await laggards(scene):
            assert await let_go(scene, found) == []
        assert await maintain(scene) == (1, ())
        assert await facts_of_audit(scene) == []

    async def test_several_let_go_of_the_same_events_each_on_its_own_record(self, scene):
        for name in ("one", "two"):
            await scene.subscribe(name, patterns=("order.*",), behind_retention="drop")
        await publish(scene, "a")
        first, second = await laggards(scene)
        await let_go(scene, first)
        assert (await maintain(scene)).blocking == ("two",)
        assert "a" in await scene.stored()
        await let_go(scene, second)
        await maintain(scene)
        assert "a" not in await scene.stored()
        assert [(row[2], row[4]) for row in await facts_of_audit(scene)] == [("one", 1), ("two", 1)]


class TestWhoeverIsInterrupted:
    async def test_goes_on_behind_the_last_page_that_was_let_go(self, scene):
        await scene.subscribe("laggard", behind_retention="archive")
        await publish(scene, *"abcd")
        (found,) = await laggards(scene)
        page = await scene.store.left_behind(found, limit=2, max_bytes=2**20)
        await scene.store.let_go(found, page)
        (again,) = await laggards(scene)
        assert keys_of(await let_go(scene, again)) == ["c", "d"]
        ((*_, count),) = await facts_of_audit(scene)
        assert count == 4

    async def test_drops_nothing_until_all_is_let_go(self, scene):
        await scene.subscribe("laggard", behind_retention="archive")
        await publish(scene, *"abcd")
        (found,) = await laggards(scene)
        page = await scene.store.left_behind(found, limit=2, max_bytes=2**20)
        found = await scene.store.let_go(found, page)
        assert await maintain(scene) == (0, ("laggard",))
        assert await scene.stored() == list("abcd")

    async def test_lets_go_of_nothing_where_somebody_else_was_quicker(self, scene):
        await scene.subscribe("laggard", behind_retention="drop")
        await publish(scene, *"abcd")
        (slow,), (quick,) = await laggards(scene), await laggards(scene)
        page = await scene.store.left_behind(slow, limit=2, max_bytes=2**20)
        assert await scene.store.let_go(quick, page) is not None
        assert await scene.store.let_go(slow, page) is None
        assert not await scene.store.end_letting_go(slow, archive=None, event_id=new_id())
        assert await facts_of_audit(scene) == []

    async def test_lets_go_of_nothing_that_is_to_be_held_by_now(self, scene):
        lease = await scene.leased("laggard", behind_retention="drop")
        await publish(scene, "a")
        await scene.park(lease, await scene.handle_all(lease))
        (found,) = await laggards(scene)
        page = await scene.store.left_behind(found, **BOUNDS)
        await scene.subscribe("laggard", behind_retention="hold")
        assert await scene.store.let_go(found, page) is None
        assert await scene.deliveries() == {"a": "pending"}
        assert await maintain(scene) == (0, ("laggard",))

    async def test_the_log_keeps_what_a_delivery_waits_for_since(self, scene):
        lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="drop")
        await publish(scene, "a")
        (row,) = await scene.rows(lease)
        (found,) = await laggards(scene)
        page = await scene.store.left_behind(found, **BOUNDS)
        found = await scene.store.let_go(found, page)
        await scene.park(lease, [row], State.RETRYING)  # it failed meanwhile
        await scene.store.end_letting_go(found, archive=None, event_id=new_id())
        assert await maintain(scene) == (0, ("laggard",))
        (found,) = await laggards(scene)
        assert keys_of(await let_go(scene, found)) == ["a"]
        await maintain(scene)
        assert "a" not in await scene.stored()


class TestLooking:
    async def test_it_is_named_before_anything_is_lost_and_counted_afterwards(self, scene):
        await scene.subscribe("laggard", patterns=("order.*",), behind_retention="drop")
        await publish(scene, "a", "b")
        inspector, _ = make_inspector(scene.store)
        (before,) = (await inspector.status(retention=2.2 * A_DAY)).subscriptions
        assert (before.behind_retention, before.near_retention, before.let_go) == ("drop", True, 0)
        (before,) = (await inspector.status(retention=5 * A_DAY)).subscriptions
        assert not before.near_retention
        (found,) = await laggards(scene)
        await let_go(scene, found)
        await maintain(scene)
        status = await inspector.status(retention=2.2 * A_DAY)
        (after,) = status.subscriptions
        assert (after.near_retention, after.let_go) == (False, 2)
        assert [reason.subscription for reason in status.verdict.reasons] == ["laggard"]
        (record,) = await inspector.subscriptions()
        assert record.behind_retention == "drop"
        await inspector.close()


class TestPuttingBack:
    async def test_delivers_to_that_subscription_in_order_each_once(self, scene, tmp_path):
        lease, events = await archived(scene, tmp_path, "a", "b", "c")
        assert await put_back(scene, tmp_path) == 3
        assert await put_back(scene, tmp_path) == 0  # they wait already
        assert list((await scene.deliveries()).items()) == [("a", "pending"), ("b", "pending"), ("c", "pending")]
        taken = await scene.usurp(lease)
        due = (await scene.store.claim({taken.slice: taken.epoch}, limit=10)).due
        assert [(one.row.id, one.row.payload, one.handled, one.is_replay) for one in due] == [
            (event.id.bytes, event.payload, False, False) for event in events
        ]

    async def test_is_not_waited_for_by_retention(self, scene, tmp_path):
        await archived(scene, tmp_path, "a")
        await put_back(scene, tmp_path)
        assert (await maintain(scene)).blocking == ()
        assert await scene.deliveries() == {"a": "pending"}

    async def test_begins_anew_with_what_was_a_delivery_and_leaves_dead_letters_alone(self, scene, tmp_path):
        lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="archive")
        await publish(scene, "a", "b")
        first, second = await scene.rows(lease)
        await scene.park(lease, [first], State.RETRYING, attempts=3, put_offs=2)
        await scene.park(lease, [second], State.DEAD)
        Archive(tmp_path).add("laggard", [first, second])
        (found,) = await laggards(scene)
        await let_go(scene, found)
        assert await put_back(scene, tmp_path) == 1
        rows = await scene.sql("select event_key, state, attempts, put_offs, reason from deliveries order by id")
        assert rows == [("a", "pending", 0, 0, None), ("b", "dead", 0, 0, None)]

    async def test_is_on_record_and_refused_to_whom_there_is_no_subscription(self, scene, tmp_path):
        await archived(scene, tmp_path, "a")
        await put_back(scene, tmp_path)
        with pytest.raises(NotFound):
            await put_back(scene, tmp_path, to="nobody")
        rows = await scene.sql(
            "select actor, action, target, count, allowed from audit where action = 'put back' order by id"
        )
        assert [(*row[:4], bool(row[4])) for row in rows] == [
            ("ann", "put back", "laggard", 1, True), ("ann", "put back", "nobody", None, False),
        ]  # fmt: skip


async def archived(scene, folder: Path, *keys: str) -> tuple[Lease, list[NewEvent]]:
    """A subscription, leased, that has archived these events and let go of them."""
    lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="archive")
    events = await publish(scene, *keys, payload=b'{"kept":  "as written"}')
    (found,) = await laggards(scene)
    Archive(folder).add("laggard", await let_go(scene, found))
    await maintain(scene)
    return lease, events


async def put_back(scene, folder: Path, to: str = "laggard") -> int:
    inspector, operator = make_inspector(scene.store)
    try:
        (file,) = folder.glob("laggard/*.jsonl")
        return await operator.put_back(to, read(file), actor="ann")
    finally:
        await inspector.close()


class TestItsWorkers:
    async def test_settle_nothing_of_it_any_more(self, scene):
        lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="drop")
        await publish(scene, "a")
        (row,) = await scene.rows(lease)
        (found,) = await laggards(scene)
        await let_go(scene, found)
        await maintain(scene)
        late = Settlement({lease.slice: lease.epoch}, parked=[Parked(lease.slice, row, State.RETRYING)])
        late.attempts.append(failed(lease.slice, row))
        assert await scene.store.settle(late) == {lease.slice}
        assert await scene.deliveries() == {}
        assert await scene.store.renew(scene.worker, {lease.slice: lease.epoch}, ttl=30) == set()

    async def test_go_on_with_what_came_later(self, scene):
        lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="drop")
        await publish(scene, "a", "b")
        (found,) = await laggards(scene)
        await let_go(scene, found)
        await maintain(scene)
        await publish(scene, "c")
        taken = await scene.usurp(lease)
        assert (taken.clean, taken.epoch) == (False, lease.epoch + 2)
        assert keys_of(await scene.rows(taken)) == ["laggard", "c"]  # its news, too

    @pytest.mark.parametrize("scene", ["file", "memory"], indirect=True)
    async def test_go_on_where_they_were_beyond_it(self, scene):
        """Where letting go moves cursors: on PostgreSQL it does not."""
        await publish(scene, "a", "b")
        await scene.publish("passed", "d")
        lease = await scene.leased("laggard", behind_retention="drop")
        page = await scene.read(lease.cursor, limit=3)
        assert keys_of(page.rows) == ["a", "b", "passed"]
        await scene.park(lease, page.rows[:1])
        done = settlement_of(
            {lease.slice: lease.epoch}, receipts=[Receipt(lease.slice, page.rows[1].id, page.rows[1].day)]
        )
        done.advances.append(Advance(lease.slice, page.cursor))  # the third was none of its own when it was read
        assert await scene.store.settle(done) == set()
        (found,) = await laggards(scene)
        assert keys_of(await let_go(scene, found)) == ["a"]
        assert (await maintain(scene)).dropped == 2
        assert keys_of(await scene.rows(await scene.usurp(lease))) == ["d", "laggard"]

    async def test_keep_their_leases_where_nothing_was_let_go(self, scene):
        quick = await scene.leased("quick", patterns=("order.*",), behind_retention="drop")
        await scene.subscribe("laggard", patterns=("order.*",), behind_retention="drop")
        await publish(scene, "a")
        await scene.handle_all(quick)
        (found,) = await laggards(scene)
        await let_go(scene, found)
        await maintain(scene)
        assert await scene.store.renew(scene.worker, {quick.slice: quick.epoch}, ttl=30) == {quick.slice}
