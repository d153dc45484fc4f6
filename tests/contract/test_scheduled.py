"""What waits for its time: events that were published for later, and schedules whose times become events."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast.errors import InvalidEvent, NotFound
from holdfast.event import Event
from holdfast.schedule import Firing, Schedule
from holdfast.stores.values import Appended
from tests.contract.harness import event, keys_of

STORED, DUPLICATE, CONFLICT = Appended.STORED, Appended.DUPLICATE, Appended.CONFLICT
HOUR = timedelta(hours=1)
shared = pytest.mark.parametrize("scene", ["file", "postgres"], indirect=True)


def now() -> datetime:
    return datetime.now(UTC)


def later(key: str | None = None, hours: float = 1, **fields):
    """An event that is due in so many hours; negative: it was due before."""
    return event(key, **fields)._replace(due_at=now() + hours * HOUR)


async def waiting(scene) -> list[str | None]:
    """Keys of what waits, in the order in which it is due."""
    return [key for (key,) in await scene.sql("select event_key from scheduled order by due_at, number")]


class TestScheduledEvents:
    async def test_it_is_stored_apart_from_the_log_and_comes_into_it_when_it_is_due(self, scene):
        lease = await scene.leased()
        assert await scene.store.append([later("a")], atomic=True) == [STORED]
        assert (await waiting(scene), await scene.stored()) == (["a"], [])
        assert await scene.store.publish_due(10) == 0
        assert await scene.rows(lease) == []
        assert 3500 < await scene.store.next_scheduled() <= 3600
        (found,) = await scene.sql("select cast(id as text) from scheduled")
        assert await scene.store.reschedule(UUID(found[0]), now() - HOUR)
        assert await scene.store.next_scheduled() < 0
        assert await scene.store.publish_due(10) == 1
        assert (await waiting(scene), await scene.stored()) == ([], ["a"])
        assert await scene.store.next_scheduled() is None
        assert keys_of(await scene.rows(lease)) == ["a"]

    async def test_it_comes_as_it_was_given(self, scene):
        lease = await scene.leased()
        moment = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
        text = '{"a": [1, 2.50,\t"é€😀"], "z":null}'.encode()
        given = later("key é", -1, name="a.b-c:d/e_1", payload=text, headers=b'{"h": "1"}', occurred_at=moment)
        await scene.store.append([given], atomic=True)
        await scene.store.publish_due(10)
        (row,) = await scene.rows(lease)
        assert (row.id, row.tenant_id, row.name, row.key) == (given.id.bytes, "acme", "a.b-c:d/e_1", "key é")
        assert (row.payload, row.headers, Event(row).occurred_at) == (text, b'{"h": "1"}', moment)

    async def test_without_a_time_of_its_own_it_gets_that_at_which_it_comes(self, scene):
        lease = await scene.leased()
        await scene.store.append([later("a", -5)], atomic=True)
        await scene.store.publish_due(10)
        assert abs(Event((await scene.rows(lease))[0]).occurred_at - now()) < timedelta(minutes=1)

    async def test_what_is_due_comes_in_the_order_of_its_times_and_so_many_at_once(self, scene):
        events = [later("c", -1), later("a", -3), later("b", -2), later("z", 1)]
        same = now() - HOUR / 2
        events += [event(key)._replace(due_at=same) for key in ("d", "e")]
        await scene.store.append(events, atomic=True)
        assert await scene.store.publish_due(2) == 2
        assert await scene.stored() == ["a", "b"]
        assert await scene.store.publish_due(10) == 3
        assert (await scene.stored(), await waiting(scene)) == (["a", "b", "c", "d", "e"], ["z"])

    async def test_what_is_published_now_and_for_later_goes_together(self, scene):
        events = [later("later"), event("now"), event("old id", event_id=uuid4())]
        assert await scene.store.append(events, atomic=True) == [STORED] * 3
        assert (await scene.stored(), await waiting(scene)) == (["now", "old id"], ["later"])

    async def test_the_same_again_is_the_same_event_before_its_time_and_after(self, scene):
        given = later("a")
        await scene.store.append([given], atomic=True)
        assert await scene.store.append([given], atomic=True) == [DUPLICATE]
        assert await scene.store.append([given._replace(payload=b"2")], atomic=False) == [CONFLICT]
        await scene.store.reschedule(given.id, now() - HOUR)
        await scene.store.publish_due(10)
        assert await scene.store.append([given], atomic=True) == [DUPLICATE]
        assert await scene.store.append([given._replace(key="b")], atomic=False) == [CONFLICT]
        assert (await scene.stored(), await waiting(scene)) == (["a"], [])

    async def test_beside_a_conflict_nothing_is_stored_of_what_belongs_together(self, scene):
        given = later("a")
        await scene.store.append([given], atomic=True)
        results = await scene.store.append([later("b"), given._replace(payload=b"2"), event("c")], atomic=True)
        assert CONFLICT in results
        assert (await scene.stored(), await waiting(scene)) == ([], ["a"])

    async def test_one_that_was_published_meanwhile_comes_once(self, scene):
        given = later("a", -1)
        await scene.store.append([given], atomic=True)
        await scene.store.append([given._replace(due_at=None)], atomic=True)
        assert await scene.store.publish_due(10) == 1
        assert (await scene.stored(), await waiting(scene)) == (["a"], [])

    async def test_one_whose_id_another_event_has_by_then_stays_visible_and_in_nobodys_way(self, scene):
        given = later("a", -1)
        await scene.store.append([given, later("b", -0.5)], atomic=True)
        await scene.store.append([given._replace(key="other", due_at=None)], atomic=True)
        assert await scene.store.publish_due(10) == 2
        assert (await scene.stored(), await waiting(scene)) == (["other", "b"], ["a"])
        assert (await scene.store.publish_due(10), await scene.store.next_scheduled()) == (0, None)
        assert await scene.store.cancel(given.id)
        assert await waiting(scene) == []

    async def test_one_that_is_cancelled_never_comes(self, scene):
        given = later("a", -1)
        await scene.store.append([given], atomic=True)
        assert await scene.store.cancel(given.id)
        assert not await scene.store.cancel(given.id)
        assert not await scene.store.reschedule(given.id, now())
        assert (await scene.store.publish_due(10), await scene.stored()) == (0, [])

    async def test_what_the_database_refuses_leaves_nothing(self, scene):
        with pytest.raises(InvalidEvent):
            await scene.store.append([later("a"), later("b", name="not a name")], atomic=False)
        assert await waiting(scene) == []

    @shared
    async def test_what_another_worker_moves_is_moved_once(self, scene):
        await scene.store.append([later(str(number), -1) for number in range(200)], atomic=True)
        stores = [scene.store, await scene.rival(), await scene.rival()]
        assert len(await waiting(scene)) == 200

        async def move(store) -> int:
            moved = 0
            while await waiting(scene):
                moved += await store.publish_due(7)
            return moved

        async with asyncio.timeout(60):
            assert sum(await asyncio.gather(*map(move, stores))) == 200
        assert sorted(await scene.stored()) == sorted(map(str, range(200)))

    @shared
    async def test_through_the_callers_transaction_it_commits_and_is_undone_with_it(self, scene):
        connection = scene.connect()
        events = [later("a"), event("b")]
        connection.execute("begin")
        assert scene.store.append_within_sync(connection, events) == [STORED, STORED]
        connection.rollback()
        assert (await waiting(scene), await scene.stored()) == ([], [])
        connection.execute("begin")
        assert scene.store.append_within_sync(connection, events) == [STORED, STORED]
        assert scene.store.append_within_sync(connection, events[:1]) == [DUPLICATE]
        assert scene.store.append_within_sync(connection, [events[0]._replace(key="c")]) == [CONFLICT]
        connection.commit()
        connection.close()
        assert (await waiting(scene), await scene.stored()) == (["a"], ["b"])

    @pytest.mark.parametrize("scene", ["postgres"], indirect=True)
    async def test_through_an_asynchronous_connection_as_well(self, scene):
        async with await psycopg.AsyncConnection.connect(scene.dsn) as connection:
            assert await scene.store.append_within(connection, [later("a"), event("b")]) == [STORED, STORED]
        assert (await waiting(scene), await scene.stored()) == (["a"], ["b"])


REPORT = Schedule("report", "0 9 * * *", "Europe/Lisbon", "once", "acme")
NEXT = datetime(2026, 3, 1, 9, tzinfo=UTC)


async def standing(scene):
    _, (found,) = await scene.store.schedules(["report"])
    return found


class TestSchedules:
    async def test_one_that_is_new_stands_at_its_first_time(self, scene):
        await scene.store.add_schedules([(REPORT, NEXT)])
        moment, (found,) = await scene.store.schedules(["report", "unknown"])
        assert (found.schedule, found.next_at) == (REPORT, NEXT)
        assert abs(moment - now()) < timedelta(minutes=1)
        assert abs(found.not_before - now()) < timedelta(minutes=1)
        assert (await scene.store.schedules(["unknown"]))[1] == []

    async def test_declared_again_it_stays_where_it_is_and_by_another_rule_it_begins_anew(self, scene):
        await scene.store.add_schedules([(REPORT, NEXT)])
        await scene.store.add_schedules([(REPORT, NEXT + HOUR)])
        assert (await standing(scene)).next_at == NEXT
        changed = replace(REPORT, missed="all", tenant_id="other")
        await scene.store.add_schedules([(changed, NEXT + HOUR)])
        assert (await standing(scene)).schedule == changed
        assert (await standing(scene)).next_at == NEXT
        elsewhere = replace(changed, zone="UTC")
        await scene.store.add_schedules([(elsewhere, NEXT + HOUR)])
        assert (await standing(scene)).next_at == NEXT + HOUR

    async def test_whoever_is_first_makes_its_events_and_nobody_after(self, scene):
        lease = await scene.leased()
        await scene.store.add_schedules([(REPORT, NEXT)])
        seen = await standing(scene)
        firing = Firing((NEXT,), NEXT + HOUR)
        assert await scene.store.advance_schedule(seen, firing, [event("a")._replace(is_new=True)])
        assert not await scene.store.advance_schedule(seen, firing, [event("b")._replace(is_new=True)])
        assert keys_of(await scene.rows(lease)) == ["a"]
        assert (await standing(scene)).next_at == NEXT + HOUR

    @shared
    async def test_of_many_at_once_one_makes_its_events(self, scene):
        await scene.store.add_schedules([(REPORT, NEXT)])
        seen = await standing(scene)
        stores = [scene.store, await scene.rival(), await scene.rival()]
        firing = Firing((NEXT,), NEXT + HOUR)
        won = await asyncio.gather(
            *(store.advance_schedule(seen, firing, [event("a")._replace(is_new=True)]) for store in stores)
        )
        assert sorted(won) == [False, False, True]
        assert await scene.stored() == ["a"]

    async def test_what_cannot_be_stored_leaves_it_where_it_is(self, scene):
        await scene.store.add_schedules([(REPORT, NEXT)])
        with pytest.raises(InvalidEvent):
            await scene.store.advance_schedule(
                await standing(scene), Firing((NEXT,), NEXT + HOUR), [event("a", name="not a name")]
            )
        assert (await standing(scene)).next_at == NEXT


class TestLookingAndActing:
    async def test_what_waits_is_listed_by_its_time_and_by_tenant(self, desk):
        events = [later("b", 2), later("a", 1), later("c", 3)._replace(tenant_id="other")]
        await desk.store.append(events, atomic=True)
        assert [one.key for one in await desk.inspector.scheduled()] == ["a", "b", "c"]
        assert [one.key for one in await desk.inspector.scheduled(tenant_id="acme", limit=1)] == ["a"]
        (found,) = await desk.inspector.scheduled(tenant_id="other")
        assert (found.event_id, found.due_at, found.name) == (events[2].id, events[2].due_at, "order.placed")
        assert found.refused_at is None

    async def test_an_operator_cancels_and_moves_with_an_audit_row(self, desk):
        first, second = later("a"), later("b")
        await desk.store.append([first, second], atomic=True)
        await desk.operator.cancel_scheduled(first.id, actor="ann")
        await desk.operator.reschedule(second.id, now() - HOUR, actor="ann")
        with pytest.raises(NotFound):
            await desk.operator.cancel_scheduled(first.id, actor="ann")
        assert await desk.store.publish_due(10) == 1
        trail = [(one.action, one.target, one.allowed) for one in await desk.inspector.audit()]
        assert trail == [
            ("scheduled cancel", str(first.id), False),
            ("scheduled move", str(second.id), True),
            ("scheduled cancel", str(first.id), True),
        ]

    async def test_a_paused_schedule_makes_nothing_and_resumed_makes_up_for_nothing(self, desk):
        await desk.store.add_schedules([(REPORT, NEXT)])
        _, (seen,) = await desk.store.schedules(["report"])
        assert await desk.operator.pause_schedule("report", actor="ann")
        assert not await desk.operator.pause_schedule("report", actor="ann")
        assert (await desk.store.schedules(["report"]))[1] == []
        assert not await desk.store.advance_schedule(seen, Firing((), NEXT + HOUR), [])
        (record,) = await desk.inspector.schedules()
        assert (record.name, record.next_at, record.paused_by) == ("report", NEXT, "ann")
        assert await desk.operator.resume_schedule("report", actor="ann")
        assert not await desk.operator.resume_schedule("report", actor="ann")
        _, (found,) = await desk.store.schedules(["report"])
        assert found.not_before > seen.not_before

    async def test_a_schedule_is_removed(self, desk):
        await desk.store.add_schedules([(REPORT, NEXT)])
        await desk.operator.remove_schedule("report", actor="ann")
        assert await desk.inspector.schedules() == []
        with pytest.raises(NotFound, match="no schedule 'report'"):
            await desk.operator.remove_schedule("report", actor="ann")

    async def test_erasing_masks_what_waits_and_it_comes_erased(self, desk):
        ann, ben = later("ann", -1, headers=b'{"mail":"a@b","correlation_id":"c"}'), later("ben", -1)
        await desk.store.append([ann, ben], atomic=True)
        assert (await desk.operator.erase_count(key="ann")).events == 1
        assert (await desk.operator.erase(actor="dpo", key="ann")).events == 1
        assert (await desk.operator.erase_count(key="ann")).events == 0
        await desk.store.publish_due(10)
        (lease,) = await desk.lease(await desk.subscribe(start="beginning"))
        rows, _ = await desk.read(lease)
        found = {row.key: Event(row) for row in rows}
        assert found["ann"].is_erased
        assert set(found["ann"].headers) == {"erased_at", "erased_by", "correlation_id"}
        assert not found["ben"].is_erased
