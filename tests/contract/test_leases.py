"""Leases: who owns a partition, since when, and what the next owner is told."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from holdfast.errors import LeaseLost
from holdfast.stores.values import Advance, Parked, Released, Slice, State
from tests.contract.harness import FAR_AHEAD, LONG_AGO, TTL, until, worker_info

shared = pytest.mark.parametrize("scene", ["file", "postgres", "simulated"], indirect=True)


def released(lease, *, exact=True, cursor=None) -> Released:
    return Released(lease.slice, lease.epoch, cursor or lease.cursor, exact)


class TestTheHeartbeat:
    async def test_shows_the_worker_as_it_described_itself(self, scene):
        subscription = await scene.subscribe()
        me = worker_info(scene.worker, subscription.id, 99, host="h", boot_id="b", pid=42, pid_started="s", version="2")
        assert (await scene.store.heartbeat(me, ttl=TTL)).workers == (me,)

    async def test_changes_what_the_worker_runs_and_whether_it_drains(self, scene):
        await scene.store.heartbeat(worker_info(scene.worker, 1), ttl=TTL)
        changed = worker_info(scene.worker, 1, 2, draining=True)
        assert (await scene.store.heartbeat(changed, ttl=TTL)).workers == (changed,)

    @pytest.mark.parametrize("heartbeat_at", [LONG_AGO, FAR_AHEAD])
    async def test_leaves_out_who_is_silent_or_speaks_from_the_future(self, scene, heartbeat_at):
        me = worker_info(scene.worker)
        await scene.store.heartbeat(worker_info(uuid4()), ttl=TTL)
        await scene.sql(f"update workers set heartbeat_at = '{heartbeat_at}'")
        assert (await scene.store.heartbeat(me, ttl=TTL)).workers == (me,)

    async def test_leaves_out_who_has_left(self, scene):
        gone, me = worker_info(uuid4()), worker_info(scene.worker)
        await scene.store.heartbeat(gone, ttl=TTL)
        await scene.store.leave(gone.id)
        await scene.store.leave(gone.id)
        assert (await scene.store.heartbeat(me, ttl=TTL)).workers == (me,)

    async def test_shows_the_leases_of_what_the_worker_runs_only(self, scene):
        mine, other = await scene.subscribe("mine", partitions=2), await scene.subscribe("other")
        (lease,) = await scene.leases(mine, count=1)
        await scene.leases(other)
        roster = await scene.store.heartbeat(worker_info(scene.worker, mine.id), ttl=TTL)
        assert roster.leases == ((lease.slice, scene.worker, False), (Slice(mine.id, 1), None, True))

    @pytest.mark.parametrize("lease_until", [LONG_AGO, FAR_AHEAD])
    async def test_calls_a_lapsed_lease_free_and_names_its_owner(self, scene, lease_until):
        lease = await scene.leased()
        await scene.lapse(lease, lease_until)
        roster = await scene.store.heartbeat(worker_info(scene.worker, lease.slice.subscription), ttl=TTL)
        assert roster.leases == ((lease.slice, scene.worker, True),)


class TestAcquiring:
    async def test_gives_no_more_than_is_wanted(self, scene):
        one, two = await scene.subscribe("one", partitions=4), await scene.subscribe("two", partitions=4)
        taken = await scene.store.acquire(scene.worker, {one.id: 3, two.id: 1}, ttl=TTL)
        assert [lease.slice for lease in taken] == [(one.id, 0), (one.id, 1), (one.id, 2), (two.id, 0)]

    @pytest.mark.parametrize("count", [0, -1])
    async def test_gives_nothing_where_nothing_is_wanted(self, scene, count):
        subscription = await scene.subscribe()
        assert await scene.leases(subscription, count=count) == []
        assert await scene.store.acquire(scene.worker, {}, ttl=TTL) == []
        assert len(await scene.leases(subscription)) == 1

    async def test_gives_nothing_of_what_is_owned(self, scene):
        subscription = await scene.subscribe(partitions=2)
        await scene.leases(subscription)
        assert await scene.leases(subscription, uuid4()) == []
        assert await scene.leases(subscription) == []

    async def test_patiently_leaves_what_has_run_out_to_its_owner_and_takes_the_rest(self, scene):
        subscription = await scene.subscribe(partitions=3)
        dead, owner = uuid4(), uuid4()
        (gone,) = await scene.store.acquire(dead, {subscription.id: 1}, ttl=TTL)
        (lapsed,) = await scene.store.acquire(owner, {subscription.id: 1}, ttl=TTL)
        await scene.lapse(lapsed)
        taken = await scene.store.acquire(scene.worker, {subscription.id: 3}, ttl=TTL, dead=[dead], patient=True)
        assert [lease.slice for lease in taken] == [gone.slice, (subscription.id, 2)]
        (late,) = await scene.store.acquire(scene.worker, {subscription.id: 3}, ttl=TTL)
        assert late.slice == lapsed.slice

    @shared
    async def test_by_many_at_once_gives_each_partition_to_one(self, scene):
        subscription = await scene.subscribe(partitions=32)
        stores = [scene.store, *[await scene.rival() for _ in range(3)]]
        taken = []

        async def grab(store) -> None:
            worker = uuid4()
            while found := await store.acquire(worker, {subscription.id: 3}, ttl=TTL):
                taken.extend(lease.slice for lease in found)

        await asyncio.gather(*map(grab, stores))
        for store in stores:  # what was locked by a rival and passed over is nobody's still
            taken += [lease.slice for lease in await store.acquire(uuid4(), {subscription.id: 32}, ttl=TTL)]
        assert sorted(taken) == [Slice(subscription.id, number) for number in range(32)]

    @pytest.mark.parametrize("lease_until", [LONG_AGO, FAR_AHEAD])
    async def test_takes_a_lapsed_lease_over_and_says_that_its_owner_was_lost(self, scene, lease_until):
        lease = await scene.leased()
        await scene.lapse(lease, lease_until)
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.slice, taken.epoch) == (lease.slice, lease.epoch + 1)
        assert (taken.lost, taken.clean, taken.crashes) == (True, False, 1)

    async def test_leaves_a_lease_alone_that_is_not_twice_the_ttl_ahead(self, scene):
        subscription = await scene.subscribe()
        await scene.leases(subscription, ttl=TTL * 1.9)
        assert await scene.leases(subscription, uuid4()) == []

    async def test_takes_the_lease_of_a_dead_worker_at_once(self, scene):
        lease = await scene.leased()
        subscription = {lease.slice.subscription: 1}
        assert await scene.store.acquire(uuid4(), subscription, ttl=TTL, dead=[uuid4()]) == []
        (taken,) = await scene.store.acquire(uuid4(), subscription, ttl=TTL, dead=[uuid4(), scene.worker])
        assert (taken.epoch, taken.lost) == (lease.epoch + 1, True)

    async def test_gives_the_cursor_as_it_was_written_last(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        _, cursor = await scene.read_all(lease.cursor)
        await scene.settle(lease, advances=[Advance(lease.slice, cursor)])
        assert (await scene.usurp(lease)).cursor == cursor

    async def test_raises_the_epoch_each_time(self, scene):
        lease = await scene.leased()
        epochs = [lease.epoch]
        for _ in range(5):
            lease = await scene.usurp(lease)
            epochs.append(lease.epoch)
        assert epochs == [1, 2, 3, 4, 5, 6]

    async def test_counts_the_crashes_until_it_went_fast(self, scene):
        lease = await scene.leased()
        crashes = [lease.crashes]
        for _ in range(3):
            lease = await scene.usurp(lease)
            crashes.append(lease.crashes)
        assert crashes == [0, 1, 2, 3]

    async def test_lasts_for_the_ttl_by_the_clock_of_the_database(self, scene):
        subscription = await scene.subscribe()
        await scene.leases(subscription, ttl=0.05)
        (taken,) = await until(lambda: scene.store.acquire(uuid4(), {subscription.id: 1}, ttl=TTL))
        assert taken.lost


class TestRenewing:
    async def test_prolongs_what_is_mine_lapsed_or_not(self, scene):
        subscription = await scene.subscribe(partitions=2)
        leases = await scene.leases(subscription)
        mine = {lease.slice: lease.epoch for lease in leases}
        await scene.lapse(leases[0])
        assert await scene.store.renew(scene.worker, mine, ttl=TTL) == set(mine)
        assert await scene.leases(subscription, uuid4()) == []

    async def test_leaves_out_what_was_taken_over_given_back_or_never_mine(self, scene):
        subscription = await scene.subscribe(partitions=4)
        kept, taken, returned, foreign = await scene.leases(subscription)
        await scene.lapse(taken)
        await scene.store.acquire(uuid4(), {subscription.id: 1}, ttl=TTL)
        await scene.store.release(scene.worker, [released(returned)])
        asked = {lease.slice: lease.epoch for lease in (kept, taken, returned)} | {foreign.slice: foreign.epoch + 1}
        assert await scene.store.renew(scene.worker, asked, ttl=TTL) == {kept.slice}
        assert await scene.store.renew(uuid4(), asked, ttl=TTL) == set()
        assert await scene.store.renew(scene.worker, {}, ttl=TTL) == set()

    async def test_a_lease_regained_under_a_new_epoch_is_not_renewed_under_the_old(self, scene):
        lease = await scene.leased()
        await scene.lapse(lease)
        (again,) = await scene.store.acquire(scene.worker, {lease.slice.subscription: 1}, ttl=TTL)
        assert await scene.store.renew(scene.worker, {lease.slice: lease.epoch}, ttl=TTL) == set()
        assert await scene.store.renew(scene.worker, {lease.slice: again.epoch}, ttl=TTL) == {lease.slice}


class TestLeaving:
    async def test_frees_what_was_acquired_without_the_worker_knowing(self, scene):
        lease = await scene.leased()
        await scene.store.leave(scene.worker)
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.epoch, taken.clean, taken.lost, taken.crashes) == (lease.epoch + 1, False, False, 0)

    async def test_what_an_owner_before_left_unfinished_stays_so(self, scene):
        lease = await scene.leased()
        await scene.lapse(lease)
        worker = uuid4()
        await scene.store.acquire(worker, {lease.slice.subscription: 1}, ttl=TTL)
        await scene.store.leave(worker)
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.clean, taken.lost, taken.crashes) == (False, True, 1)

    async def test_changes_nothing_of_what_was_released(self, scene):
        lease = await scene.leased()
        await scene.store.release(scene.worker, [released(lease)])
        await scene.store.leave(scene.worker)
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.clean, taken.lost) == (True, False)

    async def test_leaves_the_leases_of_others_alone(self, scene):
        lease = await scene.leased()
        await scene.store.leave(uuid4())
        assert await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL) == []


class TestReleasing:
    @pytest.mark.parametrize("exact", [True, False])
    async def test_says_goodbye_with_the_cursor_and_whether_it_is_exact(self, scene, exact):
        lease = await scene.leased()
        await scene.publish("a")
        _, cursor = await scene.read_all(lease.cursor)
        await scene.store.release(scene.worker, [released(lease, cursor=cursor, exact=exact)])
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.cursor, taken.clean, taken.lost) == (cursor, exact, False)
        assert (taken.epoch, taken.crashes) == (lease.epoch + 1, 0)

    async def test_ends_a_row_of_crashes(self, scene):
        lease = await scene.leased()
        worker = uuid4()
        await scene.lapse(lease)
        (taken,) = await scene.store.acquire(worker, {lease.slice.subscription: 1}, ttl=TTL)
        await scene.store.release(worker, [released(taken, exact=False)])
        (next_,) = await scene.store.acquire(scene.worker, {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.crashes, next_.crashes) == (1, 0)

    async def test_leaves_alone_what_is_somebody_elses(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        _, cursor = await scene.read_all(lease.cursor)
        taken = await scene.usurp(lease)
        await scene.store.release(scene.worker, [released(lease, cursor=cursor)])
        await scene.store.release(scene.worker, [released(taken, cursor=cursor)])
        assert (await scene.store.places([lease.slice]))[lease.slice].cursor == lease.cursor
        assert await scene.store.acquire(scene.worker, {lease.slice.subscription: 1}, ttl=TTL) == []

    async def test_ends_what_may_be_written_under_its_epoch(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        rows, cursor = await scene.read_all(lease.cursor)
        await scene.store.release(scene.worker, [released(lease, cursor=cursor)])
        late = {"advances": [Advance(lease.slice, lease.cursor)], "parked": [Parked(lease.slice, rows[0], State.DEAD)]}
        assert await scene.settle(lease, **late) == {lease.slice}
        with pytest.raises(LeaseLost):
            await scene.store.take_in(lease.slice, lease.epoch, rows)
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.cursor, taken.clean) == (cursor, True)
        assert await scene.deliveries() == {}

    async def test_again_changes_nothing(self, scene):
        lease = await scene.leased()
        for _ in range(2):
            await scene.store.release(scene.worker, [released(lease)])
        await scene.store.release(scene.worker, [])
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.epoch, taken.clean) == (lease.epoch + 1, True)

    async def test_an_owner_who_vanishes_after_it_leaves_the_lease_unclean(self, scene):
        lease = await scene.leased()
        await scene.store.release(scene.worker, [released(lease)])
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert taken.clean
        assert not (await scene.usurp(taken)).clean


class TestGoingFast:
    async def test_ends_the_count_of_crashes(self, scene):
        lease = await scene.leased()
        worker = uuid4()
        await scene.lapse(lease)
        (taken,) = await scene.store.acquire(worker, {lease.slice.subscription: 1}, ttl=TTL)
        await scene.store.mark_fast(worker, {taken.slice: taken.epoch})
        assert (await scene.usurp(taken)).crashes == 1

    async def test_is_not_for_the_owner_before_to_say(self, scene):
        lease = await scene.leased()
        taken = await scene.usurp(lease)
        await scene.store.mark_fast(scene.worker, {lease.slice: lease.epoch})
        assert (await scene.usurp(taken)).crashes == 2
