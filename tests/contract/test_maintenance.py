"""Maintenance: what is dropped, what is kept, and who is named for it."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from holdfast.stores.values import Appended, Maintenance, State
from tests.contract.harness import EVERYTHING_IS_OLD, LONG_AGO, TTL, failed, worker_info

shared = pytest.mark.parametrize("scene", ["file", "postgres", "simulated"], indirect=True)


async def maintain(scene, retention: float | None = EVERYTHING_IS_OLD) -> Maintenance:
    return await scene.store.maintain(retention=retention)


class TestRetention:
    async def test_drops_what_is_settled_everywhere_with_its_receipts(self, scene):
        for name in ("one", "two"):
            lease = await scene.leased(name)
            if name == "one":
                await scene.publish("a", "b", "c")
            await scene.handle_all(lease)
        assert await maintain(scene) == (3, ())
        assert await scene.stored() == []
        assert await scene.consumed() == []
        assert await maintain(scene) == (0, ())

    async def test_drops_what_nothing_subscribes_to(self, scene):
        await scene.publish("a", "b")
        assert await maintain(scene) == (2, ())

    async def test_keeps_what_is_young(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        await scene.handle_all(lease)
        assert await maintain(scene, 3600.0) == (0, ())
        assert await scene.stored() == ["a"]

    async def test_keeps_everything_where_it_is_off(self, scene):
        await scene.publish("a")
        assert await maintain(scene, None) == (0, ())
        assert await scene.stored() == ["a"]

    async def test_goes_by_when_an_event_was_stored_not_by_the_time_it_bears(self, scene):
        await scene.publish("a")
        await scene.sql(f"update event_log set occurred_at = '{LONG_AGO}'")
        assert await maintain(scene, 3600.0) == (0, ())
        assert await scene.stored() == ["a"]

    async def test_keeps_what_a_subscription_has_not_seen_and_names_it(self, scene):
        lease = await scene.leased("quick")
        await scene.leased("laggard")
        await scene.publish("a", "b")
        await scene.handle_all(lease)
        assert await maintain(scene) == (0, ("laggard",))
        assert await scene.stored() == ["a", "b"]

    async def test_keeps_what_a_paused_subscription_has_not_seen(self, scene):
        await scene.leased("paused")
        await scene.sql(f"update subscriptions set paused_at = '{LONG_AGO}'")
        await scene.publish("a")
        assert await maintain(scene) == (0, ("paused",))

    @pytest.mark.parametrize("state", [State.PENDING, State.RETRYING, State.RUNNING])
    async def test_keeps_what_a_delivery_waits_for(self, scene, state):
        lease = await scene.leased()
        await scene.publish("a")
        rows = await scene.handle_all(lease)
        await scene.park(lease, rows, state)
        assert await maintain(scene) == (0, ("billing",))
        assert await scene.stored() == ["a"]
        await scene.sql("delete from deliveries")
        assert await maintain(scene) == (1, ())

    async def test_leaves_a_dead_letter_its_content_and_its_history(self, scene):
        lease = await scene.leased()
        text = b'{"kept":  "as written"}'
        await scene.publish("a", payload=text, headers=b'{"h":"1"}')
        rows = await scene.handle_all(lease)
        await scene.sql("delete from receipts")
        await scene.park(lease, rows, State.DEAD)
        await scene.settle(lease, attempts=[failed(lease.slice, rows[0])])
        assert await maintain(scene) == (1, ())
        assert await scene.sql("select count(*) from attempts") == [(1,)]
        await scene.sql("update deliveries set state = 'pending'")
        ((due,), *_) = await scene.store.claim({lease.slice: lease.epoch}, limit=1)
        assert (due.row.payload, json.loads(due.row.headers)) == (text, {"h": "1"})
        assert due.row[1:2] + due.row[4:8] == rows[0][1:2] + rows[0][4:8]

    async def test_does_not_wait_for_a_dead_letter_that_is_retried_later(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        await scene.park(lease, await scene.handle_all(lease), State.DEAD)
        await maintain(scene)
        await scene.sql("update deliveries set state = 'pending'")
        assert (await maintain(scene)).blocking == ()

    async def test_takes_discarded_deliveries_and_old_attempts_along(self, scene):
        lease = await scene.leased()
        await scene.publish("a", "b")
        rows = await scene.handle_all(lease)
        await scene.park(lease, rows[:1], State.DISCARDED)
        await scene.settle(lease, attempts=[failed(lease.slice, row) for row in rows])
        assert await maintain(scene) == (2, ())
        assert await scene.deliveries() == {}
        assert await scene.sql("select count(*) from attempts") == [(0,)]

    async def test_forgets_an_id_no_sooner_than_its_event(self, scene):
        (first,) = await scene.publish("a")
        assert await scene.store.append([first], atomic=True) == [Appended.DUPLICATE]
        await maintain(scene)
        assert await scene.store.append([first], atomic=True) == [Appended.STORED]

    async def test_leaves_cursors_that_go_on(self, scene):
        lease = await scene.leased()
        reader = await scene.reader()
        await scene.publish("a")
        await scene.handle_all(lease)
        _, cursor = await scene.read_all(lease.cursor, reader)
        await maintain(scene)
        await scene.publish("b")
        rows, _ = await scene.read_all(cursor, reader)
        assert [row.key for row in rows] == ["b"]
        persisted = (await scene.store.places([lease.slice]))[lease.slice].cursor
        assert [row.key for row in (await scene.read_all(persisted))[0]] == ["b"]


class TestBackgroundDuties:
    @shared
    async def test_are_safe_on_several_workers_at_once(self, scene):
        lease = await scene.leased()
        await scene.publish(*map(str, range(50)))
        await scene.handle_all(lease)
        stores = [scene.store, *[await scene.rival() for _ in range(3)]]
        done = await asyncio.gather(*(store.maintain(retention=EVERYTHING_IS_OLD) for store in stores))
        # PostgreSQL waits for nobody: who meets another at it leaves it for the next minute.
        if not sum(one.dropped for one in done):
            done = [await maintain(scene)]
        assert sum(one.dropped for one in done) == 50
        assert await scene.stored() == []

    async def test_forget_workers_that_are_long_gone_and_own_nothing(self, scene):
        lease = await scene.leased()
        gone, owner, living = uuid4(), scene.worker, uuid4()
        for worker in (gone, owner, living):
            await scene.store.heartbeat(worker_info(worker), ttl=TTL)
        await scene.sql(
            f"update workers set heartbeat_at = '{LONG_AGO}' where cast(id as text) in ('{gone}', '{owner}')"
        )
        await maintain(scene, None)
        assert {str(found) for (found,) in await scene.sql("select cast(id as text) from workers")} == {
            str(owner), str(living)
        }  # fmt: skip
        assert lease.epoch == 1

    async def test_store_a_snapshot_from_which_a_laggard_goes_on(self, scene):
        lease = await scene.leased()
        await scene.publish("a", "b")
        await maintain(scene, None)
        assert await scene.sql("select count(*) from snapshots") == [(1,)]
        await scene.publish("c")
        reader = await scene.reader()
        rows, _ = await scene.read_all(lease.cursor, reader, limit=1)
        assert [row.key for row in rows] == ["a", "b", "c"]

    async def test_drop_the_snapshots_of_the_future(self, scene):
        await scene.publish("a")
        await maintain(scene, None)
        await scene.sql("update snapshots set at = '2999-01-01T00:00:00.000000Z'")
        await maintain(scene, None)
        assert await scene.sql("select count(*) from snapshots where at > '2998-01-01T00:00:00.000000Z'") == [(0,)]


@pytest.mark.parametrize("scene", ["file", "postgres"], indirect=True)
async def test_a_retry_of_the_time_before_the_clock_stepped_back_waits_no_longer_than_it_was_to(scene):
    lease = await scene.leased()
    await scene.publish("a", "b")
    await scene.park(lease, await scene.rows(lease), State.RETRYING, due_in=30.0)
    later = {
        "postgres": "{} + interval '1 hour'", "file": "strftime('%Y-%m-%dT%H:%M:%f', {}, '+1 hour') || '000Z'",
    }[scene.kind]  # fmt: skip
    due_at, updated_at = later.format("due_at"), later.format("updated_at")
    await scene.sql(f"update deliveries set due_at = {due_at}, updated_at = {updated_at} where event_key = 'a'")
    await maintain(scene, None)
    claim = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
    assert claim.due == []
    (latest,) = await scene.sql("select max(due_at) from deliveries")
    (other,) = await scene.sql("select due_at from deliveries where event_key = 'b'")
    ahead = [datetime.fromisoformat(str(one)) for (one,) in (latest, other)]
    assert ahead[0] - ahead[1] < timedelta(seconds=5)
    assert claim.next_in is not None
    assert 20 < claim.next_in <= 30
