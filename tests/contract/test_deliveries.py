"""Deliveries off the fast path: what blocks a key, what is due, and what a vanished worker leaves behind."""

from __future__ import annotations

import random

import pytest

from holdfast.errors import LeaseLost
from holdfast.stores import claiming
from holdfast.stores.values import Finished, Revised, Slice, State
from tests.contract.harness import FAR_AHEAD, LONG_AGO, failed, keys_of, receipt

PENDING, RETRYING, RUNNING, DEAD = State.PENDING, State.RETRYING, State.RUNNING, State.DEAD


async def parked(scene, *deliveries: tuple[str | None, State], **declared):
    """A lease with these deliveries, in this order: (key, state). What retries is not due before tomorrow."""
    lease = await scene.leased(**declared)
    await scene.publish(*(key for key, _ in deliveries))
    rows = await scene.rows(lease)
    for row, (_, state) in zip(rows, deliveries, strict=True):
        await scene.park(lease, [row], state, due_in=86_400 if state is RETRYING else 0)
    return lease, rows


async def all_due(scene) -> None:
    await scene.sql(f"update deliveries set due_at = '{LONG_AGO}'")


class TestBlockedKeys:
    async def test_are_those_of_unsettled_rows_with_their_number(self, scene):
        lease, _ = await parked(scene, ("a", PENDING), ("a", RETRYING), ("b", RUNNING), ("c", DEAD))
        blocked = await scene.store.blocked_keys([lease.slice])
        assert blocked == {lease.slice: {("acme", "a"): 2, ("acme", "b"): 1}}

    async def test_are_those_of_dead_rows_too_where_they_hold(self, scene):
        lease, _ = await parked(scene, ("a", DEAD), ("b", PENDING), on_dead="hold")
        assert await scene.store.blocked_keys([lease.slice]) == {lease.slice: {("acme", "a"): 1, ("acme", "b"): 1}}

    async def test_are_none_without_a_key_without_an_order_or_once_discarded(self, scene):
        lease, _ = await parked(scene, (None, RETRYING), ("a", DEAD), on_dead="hold")
        await scene.sql("update deliveries set state = 'discarded' where state = 'dead'")
        assert await scene.store.blocked_keys([lease.slice]) == {lease.slice: {}}
        await scene.subscribe(ordering="none")
        await scene.sql("update deliveries set state = 'retrying', event_key = 'a'")
        assert await scene.store.blocked_keys([lease.slice]) == {lease.slice: {}}

    async def test_of_one_tenant_are_not_those_of_another(self, scene):
        lease, _ = await parked(scene, ("a", RETRYING), ("a", RETRYING))
        await scene.sql("update deliveries set tenant_id = 'other' where id = (select max(id) from deliveries)")
        assert await scene.store.blocked_keys([lease.slice]) == {lease.slice: {("acme", "a"): 1, ("other", "a"): 1}}

    async def test_are_told_for_the_slices_asked_for(self, scene):
        lease, _ = await parked(scene, ("a", RETRYING))
        elsewhere = Slice(lease.slice.subscription, 5)
        assert await scene.store.blocked_keys([elsewhere]) == {elsewhere: {}}
        assert await scene.store.blocked_keys([]) == {}


class TestClaiming:
    async def test_takes_what_is_due_lowest_id_first_and_commits_it_as_running(self, scene):
        lease, rows = await parked(scene, ("b", PENDING), ("a", PENDING), (None, PENDING))
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert [due.row for due in claim.due] == rows
        assert [due.delivery for due in claim.due] == sorted(due.delivery for due in claim.due)
        facts = {(due.slice, due.attempts, due.put_offs, due.is_replay, due.handled, due.lost) for due in claim.due}
        assert facts == {(lease.slice, 0, 0, False, False, False)}
        assert set((await scene.deliveries()).values()) == {"running"}

    async def test_tells_attempts_and_put_offs_of_this_round(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        await scene.park(lease, await scene.rows(lease), RETRYING, attempts=3, put_offs=2)
        ((due,), *_) = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert (due.attempts, due.put_offs) == (3, 2)

    @pytest.mark.parametrize("seed", range(8))
    async def test_looks_as_far_as_it_must_and_takes_what_one_look_at_all_would(self, scene, seed, monkeypatch):
        """Whatever stands there, and however little is looked at first: against the rule, in plain Python."""
        monkeypatch.setattr(claiming, "FIRST_PREFIX", 2)
        chance = random.Random(seed)
        states = [PENDING, PENDING, PENDING, RETRYING, RUNNING, DEAD]
        wanted = [(chance.choice(["a", "b", "c", "d", None]), chance.choice(states)) for _ in range(40)]
        lease, _ = await parked(scene, *wanted, on_dead=chance.choice(["hold", "continue"]))
        ((holds,),) = await scene.sql("select on_dead from subscriptions")
        blocked, expected = set(), []
        for number, (key, state) in enumerate(wanted):
            if state is PENDING and (key is None or key not in blocked):
                expected.append(number)
            if key is not None and (state in (RETRYING, RUNNING) or (state is DEAD and holds == "hold")):
                blocked.add(key)
        first = min(int(number) for (number,) in await scene.sql("select id from deliveries"))
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=chance.choice([3, 100]))
        found = [due.delivery - first for due in claim.due]
        assert found == expected[: len(found)]
        assert len(found) in (3, len(expected))

    async def test_has_a_number_and_what_is_written_about_an_earlier_one_is_void(self, scene):
        lease, _ = await parked(scene, ("a", PENDING), ("b", PENDING))
        ((first, other), *_) = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        late = {
            "revised": [Revised(lease.slice, first.delivery, first.claim, RETRYING, 1)],
            "finished": [Finished(lease.slice, other.delivery, other.claim)],
        }
        await scene.settle(lease, revised=[Revised(lease.slice, one.delivery, one.claim, RETRYING, 1)
                                           for one in (first, other)])  # fmt: skip
        ((second, again), *_) = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert (second.claim, again.claim) == (first.claim + 1, other.claim + 1)
        await scene.settle(lease, **late)  # the same once more: the answer to the first was lost
        assert await scene.deliveries() == {"a": "running", "b": "running"}
        await scene.settle(lease, finished=[Finished(lease.slice, again.delivery, again.claim)])
        assert await scene.deliveries() == {"a": "running"}

    async def test_takes_no_more_than_the_limit(self, scene):
        lease, _ = await parked(scene, *((key, PENDING) for key in "abcde"))
        assert await scene.claim(lease, 2) == ["a", "b"]
        assert await scene.claim(lease, 2) == ["c", "d"]
        assert await scene.claim(lease, 2) == ["e"]
        assert await scene.claim(lease, 2) == []

    async def test_gives_all_of_a_key_that_is_due_in_order(self, scene):
        lease, rows = await parked(scene, ("a", PENDING), ("b", PENDING), ("a", PENDING))
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert [due.row.position for due in claim.due] == [row.position for row in rows]

    async def test_leaves_what_is_not_due_and_says_when_it_will_be(self, scene):
        lease, _ = await parked(scene, ("a", RETRYING), ("b", PENDING))
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert keys_of([due.row for due in claim.due]) == ["b"]
        assert 86_300 < claim.next_in <= 86_400
        await all_due(scene)
        assert await scene.claim(lease) == ["a"]

    async def test_says_nothing_of_the_next_where_there_is_none(self, scene):
        lease, _ = await parked(scene, ("a", PENDING), ("b", DEAD))
        assert (await scene.store.claim({lease.slice: lease.epoch}, limit=10)).next_in is None
        assert (await scene.store.claim({}, limit=10))[:2] == ([], None)

    async def test_tells_the_generation_as_a_reading_session_does(self, scene):
        lease, _ = await parked(scene, ("a", PENDING))
        await scene.subscribe("another")
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        reader = await scene.store.reader()
        assert claim.generation == await reader.generation()
        await reader.close()

    @pytest.mark.parametrize("state", [RETRYING, RUNNING])
    async def test_leaves_what_stands_behind_its_key(self, scene, state):
        lease, _ = await parked(scene, ("a", state), ("a", PENDING), ("b", PENDING), (None, PENDING))
        assert await scene.claim(lease) == ["b", None]

    @pytest.mark.parametrize(("on_dead", "taken"), [("hold", ["b"]), ("continue", ["a", "b"])])
    async def test_what_stands_behind_a_dead_one_is_left_where_that_holds(self, scene, on_dead, taken):
        lease, _ = await parked(scene, ("a", DEAD), ("a", PENDING), ("b", PENDING), on_dead=on_dead)
        assert await scene.claim(lease) == taken

    async def test_without_an_order_nothing_stands_behind_anything(self, scene):
        lease, _ = await parked(scene, ("a", RETRYING), ("a", PENDING), ordering="none", on_dead="hold")
        assert await scene.claim(lease) == ["a"]

    async def test_what_comes_later_holds_nothing_back(self, scene):
        lease, _ = await parked(scene, ("a", PENDING), ("a", RUNNING), ("a", DEAD), on_dead="hold")
        assert await scene.claim(lease) == ["a"]

    async def test_never_takes_what_is_running_dead_or_discarded(self, scene):
        lease, _ = await parked(scene, ("a", RUNNING), ("b", DEAD), ("c", PENDING))
        await scene.sql("update deliveries set state = 'discarded' where event_key = 'c'")
        assert await scene.claim(lease) == []

    async def test_takes_nothing_under_an_old_epoch(self, scene):
        lease, _ = await parked(scene, ("a", PENDING))
        taken = await scene.usurp(lease)
        assert await scene.claim(lease) == []
        assert await scene.claim(taken) == ["a"]

    async def test_takes_from_its_own_slices_only(self, scene):
        mine, _ = await parked(scene, ("a", PENDING), name="mine")
        other = await scene.leased("other")
        await scene.park(other, await scene.rows(other))
        assert await scene.claim(mine) == ["a"]
        assert len(await scene.sql("select 1 from deliveries where state = 'pending'")) == 1

    async def test_says_of_what_has_a_receipt_that_it_was_handled(self, scene):
        lease, rows = await parked(scene, ("a", RETRYING), ("b", RETRYING))
        await scene.settle(lease, receipts=[receipt(lease, rows[0])])
        await all_due(scene)
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert [(due.row.key, due.handled) for due in claim.due] == [("a", True), ("b", False)]


class TestSuspects:
    async def test_are_the_rows_found_running_lowest_id_first(self, scene):
        lease, rows = await parked(scene, ("b", RUNNING), ("a", RUNNING), ("c", PENDING), ("d", DEAD), ("e", RETRYING))
        suspects = await scene.store.suspects([lease.slice])
        assert [due.row for due in suspects] == rows[:2]
        assert await scene.store.suspects([]) == []

    async def test_that_have_a_receipt_were_handled(self, scene):
        lease, rows = await parked(scene, ("a", RUNNING), ("b", RUNNING))
        await scene.settle(lease, receipts=[receipt(lease, rows[0])])
        suspects = await scene.store.suspects([lease.slice])
        assert [(due.row.key, due.handled, due.lost) for due in suspects] == [("a", True, False), ("b", False, False)]

    async def test_whose_latest_attempt_has_no_record_lost_their_worker_in_it(self, scene):
        lease, rows = await parked(scene, ("a", RUNNING), ("b", RUNNING))
        before = await scene.store.suspects([lease.slice])
        for due in before:
            await scene.store.begin_attempt(due, lease.epoch)
        await scene.settle(lease, attempts=[failed(lease.slice, rows[0])])
        after = await scene.store.suspects([lease.slice])
        assert [due.lost for due in before] == [False, False]
        assert [(due.attempts, due.lost) for due in after] == [(1, False), (1, True)]
        await scene.store.begin_attempt(after[0], lease.epoch)
        assert [(due.attempts, due.lost) for due in await scene.store.suspects([lease.slice])] == [(2, True), (1, True)]

    async def test_were_lost_in_an_attempt_whose_number_only_a_put_off_has_on_record(self, scene):
        lease, rows = await parked(scene, ("a", RUNNING), ("b", RUNNING))
        a, b = rows
        put_offs = [failed(lease.slice, row, outcome="put off") for row in (a, b)]
        await scene.settle(lease, attempts=put_offs)
        due_a, due_b = await scene.store.suspects([lease.slice])
        await scene.store.begin_attempt(due_a, lease.epoch)
        await scene.store.begin_attempt(due_b, lease.epoch)
        put_off_later = failed(lease.slice, b, 2, outcome="put off")
        await scene.settle(lease, attempts=[failed(lease.slice, b), put_off_later])
        assert [(due.attempts, due.lost) for due in await scene.store.suspects([lease.slice])] == [
            (1, True),
            (1, False),
        ]

    async def test_behind_their_key_say_so(self, scene):
        rows = [("a", RUNNING), ("a", RETRYING), ("a", RUNNING), ("b", DEAD), ("b", RUNNING), (None, RUNNING)]
        lease, _ = await parked(scene, *rows)
        suspects = await scene.store.suspects([lease.slice])
        assert [(due.row.key, due.behind) for due in suspects] == [
            ("a", False), ("a", True), ("b", False), (None, False),
        ]  # fmt: skip
        await scene.subscribe(on_dead="hold")
        assert [due.behind for due in await scene.store.suspects([lease.slice])] == [False, True, True, False]
        await scene.subscribe(ordering="none")
        assert not any(due.behind for due in await scene.store.suspects([lease.slice]))


class TestTakingIn:
    async def test_commits_the_rows_as_running_and_returns_them_in_order(self, scene):
        lease = await scene.leased()
        await scene.publish("b", "a", None)
        rows = await scene.rows(lease)
        taken = await scene.store.take_in(lease.slice, lease.epoch, rows)
        assert [(due.row, due.slice, due.attempts, due.is_replay) for due in taken] == [
            (row, lease.slice, 0, False) for row in rows
        ]
        assert [due.delivery for due in taken] == sorted(due.delivery for due in taken)
        assert [due.row for due in await scene.store.suspects([lease.slice])] == rows

    async def test_again_returns_the_same_because_the_first_answer_may_be_lost(self, scene):
        lease = await scene.leased()
        await scene.publish("b", "a", None)
        rows = await scene.rows(lease)
        first = await scene.store.take_in(lease.slice, lease.epoch, rows)
        assert await scene.store.take_in(lease.slice, lease.epoch, rows) == first
        assert len(await scene.deliveries()) == 3

    async def test_leaves_out_what_has_a_row_in_another_state(self, scene):
        lease, rows = await parked(scene, ("a", PENDING), ("b", DEAD), ("c", RETRYING))
        await scene.publish("d")
        rows = await scene.rows(lease)
        taken = await scene.store.take_in(lease.slice, lease.epoch, rows)
        assert [due.row.key for due in taken] == ["d"]
        assert await scene.deliveries() == {"a": "pending", "b": "dead", "c": "retrying", "d": "running"}

    async def test_tells_what_has_a_receipt_by_now(self, scene):
        lease = await scene.leased()
        await scene.publish("a", "b")
        rows = await scene.rows(lease)
        await scene.settle(
            lease, receipts=[receipt(lease, rows[0])]
        )  # as a worker that has lost its lease may do at any time
        taken = await scene.store.take_in(lease.slice, lease.epoch, rows)
        assert [due.handled for due in taken] == [True, False]

    async def test_of_nothing_is_nothing(self, scene):
        lease = await scene.leased()
        assert await scene.store.take_in(lease.slice, lease.epoch, []) == []

    async def test_under_an_old_epoch_writes_nothing(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        rows = await scene.rows(lease)
        await scene.usurp(lease)
        with pytest.raises(LeaseLost):
            await scene.store.take_in(lease.slice, lease.epoch, rows)
        assert await scene.deliveries() == {}


class TestBeginningAnAttempt:
    async def test_commits_one_more_and_returns_their_number(self, scene):
        lease, _ = await parked(scene, ("a", RUNNING))
        (due,) = await scene.store.suspects([lease.slice])
        begun = [await scene.store.begin_attempt(due, lease.epoch) for _ in range(3)]
        assert [(one.attempts, one.claim, one.row) for one in begun] == [
            (before, due.claim + before + 1, due.row) for before in range(3)
        ]
        assert await scene.sql("select attempts from deliveries") == [(3,)]

    async def test_tells_whether_it_has_a_receipt_by_now(self, scene):
        lease, rows = await parked(scene, ("a", RUNNING))
        (due,) = await scene.store.suspects([lease.slice])
        assert not (await scene.store.begin_attempt(due, lease.epoch)).handled
        await scene.settle(lease, receipts=[receipt(lease, row) for row in rows])
        assert (await scene.store.begin_attempt(due, lease.epoch)).handled

    async def test_of_what_is_no_longer_running_does_nothing(self, scene):
        lease, _ = await parked(scene, ("a", RUNNING))
        (due,) = await scene.store.suspects([lease.slice])
        await scene.settle(lease, revised=[Revised(lease.slice, due.delivery, due.claim, DEAD, 1)])
        assert await scene.store.begin_attempt(due, lease.epoch) is None
        assert await scene.sql("select attempts from deliveries") == [(1,)]

    async def test_under_an_old_epoch_writes_nothing(self, scene):
        lease, _ = await parked(scene, ("a", RUNNING))
        (due,) = await scene.store.suspects([lease.slice])
        await scene.usurp(lease)
        with pytest.raises(LeaseLost):
            await scene.store.begin_attempt(due, lease.epoch)
        assert await scene.sql("select attempts from deliveries") == [(0,)]


class TestWhatIsUnsettled:
    async def test_counts_what_was_not_handled_and_the_rows_that_wait(self, scene):
        lease, rows = await parked(scene, ("a", PENDING), ("b", RETRYING), ("c", RUNNING), ("d", DEAD))
        await scene.publish("e", "f")
        rows = await scene.rows(lease)
        await scene.settle(lease, receipts=[receipt(lease, rows[4])])
        horizon = await (await scene.reader()).horizon()
        await scene.publish("later")
        unsettled = await scene.store.unsettled([lease.slice.subscription], horizon)
        assert unsettled == {lease.slice.subscription: 4}  # a, b, c and f

    async def test_is_nothing_or_zero_where_all_is_settled(self, scene):
        lease = await scene.leased(patterns=("order.*",))
        await scene.publish("a")
        await scene.publish("b", name="other")
        await scene.settle(lease, receipts=[receipt(lease, row) for row in await scene.rows(lease) if row.key == "a"])
        horizon = await (await scene.reader()).horizon()
        assert not any((await scene.store.unsettled([lease.slice.subscription], horizon)).values())
        assert not any((await scene.store.unsettled([], horizon)).values())

    async def test_is_told_of_each_subscription_asked_for(self, scene):
        one, two = await scene.leased("one"), await scene.leased("two", start="now")
        await scene.publish("a", "b")
        await scene.handle_all(one)
        horizon = await (await scene.reader()).horizon()
        unsettled = await scene.store.unsettled([one.slice.subscription, two.slice.subscription], horizon)
        assert unsettled.get(one.slice.subscription, 0) == 0
        assert unsettled[two.slice.subscription] == 2

    async def test_a_handlers_own_events_are_told_from_others(self, scene):
        reader = await scene.reader()
        before = await reader.horizon()
        await scene.publish("a", headers=b'{"correlation_id":"1"}')
        assert not await scene.store.caused_since(before)
        await scene.publish("b", headers=b'{"causation_id":"1"}')
        assert await scene.store.caused_since(before)
        assert not await scene.store.caused_since(await reader.horizon())


class TestRowsThatTheLogHasLost:
    async def test_come_with_what_the_row_kept(self, scene):
        lease, rows = await parked(scene, ("a", PENDING))
        await scene.sql(f"update deliveries set payload = '[1]', occurred_at = '{FAR_AHEAD}'")
        await scene.sql("delete from event_log")
        ((due,), *_) = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert (due.row.id, due.row.key, due.row.payload) == (rows[0].id, "a", b"[1]")

    async def test_come_with_nothing_to_decode_where_nothing_is_left(self, scene):
        lease, _ = await parked(scene, ("a", PENDING))
        await scene.sql("delete from event_log")
        ((due,), *_) = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert due.row.payload == b""
