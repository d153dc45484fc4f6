"""Settling: outcomes of many events in one transaction, under the epoch of the lease."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.stores.values import Advance, Cursor, Finished, Parked, Place, Receipt, Revised, Settlement, Slice, State
from tests.contract.harness import event, failed, keys_of, receipt, settlement_of

shared = pytest.mark.parametrize("scene", ["file", "postgres", "simulated"], indirect=True)


async def begun(scene, *keys: str):
    """A lease, and the rows of these events."""
    lease = await scene.leased()
    await scene.publish(*keys)
    return lease, await scene.rows(lease)


async def everything(scene, lease, rows) -> Settlement:
    """A settlement with one of each: "a" is done, "b" fails, "c" and "d" were off the fast path."""
    a, b, c, d = rows
    await scene.store.take_in(lease.slice, lease.epoch, [c, d])
    suspects = {due.row.key: (due.delivery, due.claim) for due in await scene.store.suspects([lease.slice])}
    where = lease.slice
    return settlement_of(
        {where: lease.epoch},
        receipts=[receipt(lease, a), receipt(lease, d, attempts=2, replaces=True)],
        parked=[Parked(where, b, State.RETRYING, 1, 0, 60.0, "no")],
        revised=[Revised(where, *suspects["c"], State.DEAD, 5, 1, reason="never")],
        finished=[Finished(where, *suspects["d"])],
        attempts=[failed(where, b), failed(where, c, 5)],
        advances=[Advance(where, (await scene.read_all(lease.cursor))[1])],
        events=[(where, event("published"))],
    )


async def state(scene) -> dict[str, object]:
    """All that a settlement may write."""
    return {
        "receipts": await scene.consumed(),
        "deliveries": await scene.sql("select event_key, state, attempts, put_offs, reason from deliveries order by 1"),
        "attempts": await scene.sql("select attempt, outcome, error, seconds from attempts order by 1"),
        "events": await scene.stored(),
        "cursors": await scene.sql("select cast(done as text), position from cursors"),
    }


class TestReceipts:
    async def test_are_one_for_each_event_and_subscription(self, scene):
        lease, rows = await begun(scene, "a", "b")
        await scene.settle(lease, receipts=[receipt(lease, rows[0], attempts=3), receipt(lease, rows[1])])
        found = await scene.sql(
            "select event_key, consumer_name, attempts from event_consumers as c "
            "join event_log as e on e.id = c.event_id order by 1"
        )
        assert found == [("a", "billing", 3), ("b", "billing", 1)]

    async def test_again_change_nothing(self, scene):
        lease, rows = await begun(scene, "a")
        await scene.settle(lease, receipts=[receipt(lease, rows[0])])
        first = await scene.sql("select * from event_consumers")
        await scene.settle(lease, receipts=[receipt(lease, rows[0], attempts=9), receipt(lease, rows[0])])
        assert await scene.sql("select * from event_consumers") == first

    async def test_state_a_fact_and_need_no_lease(self, scene):
        lease, rows = await begun(scene, "a", "b", "c")
        await scene.usurp(lease)
        assert await scene.store.settle(settlement_of(receipts=[receipt(lease, rows[0])])) == set()
        assert await scene.settle(lease, receipts=[receipt(lease, row) for row in rows]) == {lease.slice}
        assert len(await scene.consumed()) == 3

    async def test_of_a_replay_take_the_place_of_the_one_before(self, scene):
        lease, rows = await begun(scene, "a")
        await scene.settle(lease, receipts=[receipt(lease, rows[0])])
        await scene.settle(lease, receipts=[receipt(lease, rows[0], attempts=4, replaces=True)])
        assert [attempts for _, _, attempts in await scene.consumed()] == [4]

    async def test_of_a_replay_do_not_under_an_old_epoch_nor_without_one(self, scene):
        lease, rows = await begun(scene, "a")
        await scene.settle(lease, receipts=[receipt(lease, rows[0])])
        await scene.usurp(lease)
        replaced = [receipt(lease, rows[0], attempts=4, replaces=True)]
        await scene.settle(lease, receipts=replaced)
        await scene.store.settle(settlement_of(receipts=replaced))
        assert [attempts for _, _, attempts in await scene.consumed()] == [1]

    @shared
    async def test_by_two_owners_in_opposite_order_meet_without_harm(self, scene):
        lease, rows = await begun(scene, *map(str, range(300)))
        rival = await scene.rival()
        receipts = [receipt(lease, row) for row in rows]
        for _ in range(5):
            both = (
                scene.store.settle(settlement_of(receipts=receipts)),
                rival.settle(settlement_of(receipts=receipts[::-1])),
            )
            assert await asyncio.gather(*both) == [set(), set()]
            assert len(await scene.consumed()) == 300
            await scene.sql("delete from receipts")


class TestAParkedEvent:
    async def test_becomes_a_delivery_row_in_the_order_given(self, scene):
        lease, rows = await begun(scene, "a", "b", "c")
        parked = [Parked(lease.slice, row, State.PENDING) for row in (rows[2], rows[0], rows[1])]
        await scene.settle(lease, parked=parked)
        assert list(await scene.deliveries()) == ["c", "a", "b"]

    async def test_keeps_its_attempts_put_offs_reason_and_time(self, scene):
        lease, rows = await begun(scene, "a")
        await scene.settle(lease, parked=[Parked(lease.slice, rows[0], State.RETRYING, 2, 3, 50.0, "why")])
        assert await scene.sql("select attempts, put_offs, reason, event_name, tenant_id from deliveries") == [
            (2, 3, "why", "order.placed", "acme")
        ]
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=1)
        assert 40 < claim.next_in <= 50

    async def test_that_has_a_row_already_keeps_it(self, scene):
        lease, rows = await begun(scene, "a")
        await scene.park(lease, rows, State.DEAD, attempts=5)
        await scene.park(lease, rows, State.PENDING)
        assert await scene.sql("select state, attempts from deliveries") == [("dead", 5)]


class TestARevisedDelivery:
    async def test_changes_its_state(self, scene):
        lease, rows = await begun(scene, "a")
        (due,) = await scene.store.take_in(lease.slice, lease.epoch, rows)
        await scene.settle(
            lease, revised=[Revised(lease.slice, due.delivery, due.claim, State.RETRYING, 2, 1, 0.0, "why")]
        )
        assert await scene.sql("select state, attempts, put_offs, reason from deliveries") == [
            ("retrying", 2, 1, "why")
        ]
        assert await scene.claim(lease) == ["a"]

    async def test_keeps_its_reason_where_none_is_given(self, scene):
        lease, rows = await begun(scene, "a")
        await scene.park(lease, rows, State.RUNNING, reason="first")
        (due,) = await scene.store.suspects([lease.slice])
        await scene.settle(lease, revised=[Revised(lease.slice, due.delivery, due.claim, State.PENDING, 1)])
        assert await scene.sql("select reason from deliveries") == [("first",)]

    @pytest.mark.parametrize("known", [state for state in State if state is not State.RUNNING])
    async def test_is_left_alone_when_it_runs_no_longer(self, scene, known):
        lease, rows = await begun(scene, "a")
        (due,) = await scene.store.take_in(lease.slice, lease.epoch, rows)
        await scene.sql(f"update deliveries set state = '{known}'")
        assert (
            await scene.settle(lease, revised=[Revised(lease.slice, due.delivery, due.claim, State.DEAD, 9)]) == set()
        )
        assert await scene.sql("select state, attempts from deliveries") == [(known, 0)]


class TestAFinishedDelivery:
    async def test_is_gone(self, scene):
        lease, rows = await begun(scene, "a", "b")
        first, _ = await scene.store.take_in(lease.slice, lease.epoch, rows)
        await scene.settle(lease, finished=[Finished(lease.slice, first.delivery, first.claim)])
        assert await scene.deliveries() == {"b": "running"}

    async def test_that_was_called_back_meanwhile_stays(self, scene):
        lease, rows = await begun(scene, "a")
        (due,) = await scene.store.take_in(lease.slice, lease.epoch, rows)
        await scene.sql("update deliveries set state = 'pending'")
        await scene.settle(lease, finished=[Finished(lease.slice, due.delivery, due.claim)])
        assert await scene.deliveries() == {"a": "pending"}


class TestAnAttempt:
    async def test_is_kept_with_its_facts(self, scene):
        lease, rows = await begun(scene, "a")
        attempt = failed(
            lease.slice, rows[0], 2, outcome="timeout", error="E", message="m", traceback="t", seconds=1.25
        )
        await scene.settle(lease, attempts=[attempt])
        found = await scene.sql("select attempt, outcome, error, message, traceback, seconds from attempts")
        assert found == [(2, "timeout", "E", "m", "t", 1.25)]

    async def test_of_another_time_or_end_is_another(self, scene):
        lease, rows = await begun(scene, "a")
        first = failed(lease.slice, rows[0])
        others = [first._replace(attempt=2), first._replace(seconds=0.75), first._replace(error="Other")]
        await scene.settle(lease, attempts=[first, *others])
        assert len(await scene.sql("select 1 from attempts")) == 4

    async def test_again_is_not_counted_twice(self, scene):
        lease, rows = await begun(scene, "a")
        attempt = failed(lease.slice, rows[0], seconds=0.1234567)
        await scene.settle(lease, attempts=[attempt])
        await scene.settle(lease, attempts=[attempt])
        assert len(await scene.sql("select 1 from attempts")) == 1


class TestAnAdvance:
    async def test_writes_the_cursor_as_it_was_read(self, scene):
        lease = await scene.leased()
        await scene.publish(*"abc")
        cursor = (await scene.read_all(lease.cursor))[1]
        await scene.publish(*"def")
        page = await scene.read(cursor, limit=2)
        assert page.cursor.open is not None
        await scene.settle(lease, advances=[Advance(lease.slice, page.cursor)])
        assert await scene.store.places([lease.slice]) == {lease.slice: Place(page.cursor)}
        assert keys_of((await scene.read_all(page.cursor))[0]) == ["f"]

    async def test_of_many_partitions_goes_to_each(self, scene):
        subscription = await scene.subscribe(partitions=3)
        leases = await scene.leases(subscription)
        await scene.publish(*"abc")
        _, cursor = await scene.read_all(leases[0].cursor)
        places = [Advance(lease.slice, cursor) for lease in leases[:2]]
        epochs = {lease.slice: lease.epoch for lease in leases}
        await scene.store.settle(Settlement(epochs, advances=places))
        found = await scene.store.places([lease.slice for lease in leases])
        assert found == dict.fromkeys(epochs, Place(cursor)) | {leases[2].slice: Place(leases[2].cursor)}


class TestASettlement:
    async def test_writes_all_of_it(self, scene):
        lease, rows = await begun(scene, *"abcd")
        settlement = await everything(scene, lease, rows)
        assert await scene.store.settle(settlement) == set()
        found = await state(scene)
        assert [attempts for _, _, attempts in found["receipts"]] == [1, 2]
        assert found["deliveries"] == [("b", "retrying", 1, 0, "no"), ("c", "dead", 5, 1, "never")]
        assert found["attempts"] == [(1, "failed", "ValueError", 0.5), (5, "failed", "ValueError", 0.5)]
        assert found["events"] == [*"abcd", "published"]
        assert await scene.store.places([lease.slice]) == {lease.slice: Place(settlement.advances[0].cursor)}

    async def test_again_changes_nothing_because_the_first_answer_may_be_lost(self, scene):
        lease, rows = await begun(scene, *"abcd")
        settlement = await everything(scene, lease, rows)
        await scene.store.settle(settlement)
        first = await state(scene)
        assert await scene.store.settle(settlement) == set()
        assert await state(scene) == first

    async def test_under_an_old_epoch_writes_plain_receipts_only(self, scene):
        lease, rows = await begun(scene, *"abcd")
        settlement = await everything(scene, lease, rows)
        before = await state(scene)
        await scene.usurp(lease)
        assert await scene.store.settle(settlement) == {lease.slice}
        after = await state(scene)
        assert len(after.pop("receipts")) == 1
        assert before.pop("receipts") == []
        assert after == before

    async def test_without_an_epoch_writes_plain_receipts_only(self, scene):
        lease, rows = await begun(scene, *"abcd")
        settlement = await everything(scene, lease, rows)
        before = await state(scene)
        settlement.epochs = {}
        assert await scene.store.settle(settlement) == set()
        after = await state(scene)
        assert len(after.pop("receipts")) == 1
        assert before.pop("receipts") == []
        assert after == before

    async def test_leaves_out_the_lost_slices_and_writes_the_others(self, scene):
        subscription = await scene.subscribe(partitions=2)
        kept, lost = await scene.leases(subscription)
        await scene.publish("a", "b")
        a, b = (await scene.read_all(kept.cursor))[0]
        await scene.sql(f"update leases set epoch = epoch + 1 where partition = {lost.slice.partition}")
        settlement = Settlement(
            {kept.slice: kept.epoch, lost.slice: lost.epoch, Slice(subscription.id, 9): 1},
            parked=[Parked(kept.slice, a, State.DEAD), Parked(lost.slice, b, State.DEAD)],
            events=[(kept.slice, event("kept")), (lost.slice, event("lost"))],
        )
        assert await scene.store.settle(settlement) == {lost.slice, Slice(subscription.id, 9)}
        assert await scene.deliveries() == {"a": "dead"}
        assert await scene.stored() == ["a", "b", "kept"]

    async def test_of_nothing_is_fine(self, scene):
        lease = await scene.leased()
        assert await scene.store.settle(Settlement()) == set()
        assert await scene.settle(lease) == set()

    async def test_that_fails_writes_nothing(self, scene):
        lease, rows = await begun(scene, "a")
        broken = event("b", name="not a name")
        with pytest.raises(Exception, match="event_name_segments"):
            await scene.settle(lease, receipts=[receipt(lease, rows[0])], events=[(lease.slice, broken)])
        assert await scene.consumed() == []

    async def test_of_ten_thousand_receipts_is_one_call(self, scene):
        lease, rows = await begun(scene, *map(str, range(100)))
        many = [Receipt(lease.slice, number.to_bytes(16), rows[0].day) for number in range(10_000)]
        await scene.settle(lease, receipts=many, advances=[Advance(lease.slice, Cursor(lease.cursor.done))])
        assert await scene.sql("select count(*) from receipts") == [(10_000,)]
