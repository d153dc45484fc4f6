"""What operators change at run time: paused tenants, with the places of what is deferred, and concurrency."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import InvalidEvent, InvalidInput, NotFound
from holdfast.stores.values import Advance, Declaration, Parked, Place, Released, Settlement, State

if TYPE_CHECKING:
    from holdfast.stores.values import Lease
    from tests.contract.desk import Desk


async def two_places(desk: Desk) -> tuple[Lease, Place]:
    """A lease, and a place further on in which acme has been left behind."""
    subscription = await desk.subscribe()
    await desk.publish(n=2)
    await desk.publish(n=2, tenant="other")
    (lease,) = await desk.lease(subscription)
    _, cursor = await desk.read(lease)
    return lease, Place(cursor, (("acme", lease.cursor),))


async def put(desk: Desk, lease: Lease, place: Place) -> None:
    advance = Advance(lease.slice, lease.cursor, place=place if place.deferred else None)
    if not place.deferred:
        advance = advance._replace(cursor=place.cursor)
    assert await desk.store.settle(Settlement({lease.slice: lease.epoch}, advances=[advance])) == set()


async def place_of(desk: Desk, lease: Lease) -> Place:
    return (await desk.store.places([lease.slice]))[lease.slice]


class TestPlaces:
    async def test_are_kept_and_given_back_whole(self, desk: Desk) -> None:
        lease, place = await two_places(desk)
        await put(desk, lease, place)
        assert await place_of(desk, lease) == place
        further = Place(place.cursor, (("acme", lease.cursor), ("bell", place.cursor)))
        await put(desk, lease, further)
        assert await place_of(desk, lease) == further

    async def test_come_with_the_lease(self, desk: Desk) -> None:
        lease, place = await two_places(desk)
        given = Released(lease.slice, lease.epoch, lease.cursor, exact=True, place=place)
        await desk.store.release(desk.worker, [given])
        (again,) = await desk.store.acquire(desk.worker, {lease.slice.subscription: 1}, ttl=30)
        assert (again.cursor, again.deferred, again.clean) == (place.cursor, place.deferred, True)

    async def test_with_nobody_deferred_any_more_are_a_cursor_again(self, desk: Desk) -> None:
        lease, place = await two_places(desk)
        await put(desk, lease, place)
        await put(desk, lease, Place(place.cursor))
        assert await place_of(desk, lease) == Place(place.cursor)

    async def test_far_back_hide_nobody_else_who_waits(self, desk: Desk) -> None:
        """Whether the others' wait is seen must not hang on whether a sample of the log happens to meet it."""
        subscription = await desk.subscribe()
        await desk.operator.pause(subscription.name, actor="ann", tenant_id="acme")
        (lease,) = await desk.lease(subscription)
        await desk.publish(n=5_000)
        cursor = lease.cursor
        while (further := (await desk.read(lease._replace(cursor=cursor)))[1]) != cursor:
            cursor = further
        await put(desk, lease, Place(cursor, (("acme", lease.cursor),)))

        async def waiting() -> float | None:
            (one,) = (await desk.inspector.status(backlog_max=100)).subscriptions
            return one.lag_seconds

        assert await waiting() is None, "what is paused does not wait"
        await desk.publish(tenant="other")
        await desk.publish(n=5_000)
        assert await waiting() is not None

    async def test_leave_all_that_goes_by_cursors_where_it_was(self, desk: Desk) -> None:
        """What waits is kept by retention, and counted."""
        lease, place = await two_places(desk)
        await put(desk, lease, place)
        (found,) = await desk.inspector.leases("billing")
        assert found.done == lease.cursor.done
        (status,) = (await desk.inspector.status()).subscriptions
        assert status.backlog == 4

    async def test_are_void_once_the_subscription_was_skipped(self, desk: Desk) -> None:
        lease, place = await two_places(desk)
        await put(desk, lease, place)
        await desk.store.release(
            desk.worker, [Released(lease.slice, lease.epoch, lease.cursor, exact=True, place=place)]
        )
        await desk.operator.skip("billing", actor="ann")
        skipped = await place_of(desk, lease)
        assert skipped.deferred == ()
        assert skipped.cursor != lease.cursor


class TestPausing:
    async def test_one_tenant_is_told_to_the_engine_and_to_people(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        before = (await desk.lease(subscription))[0]
        reader = await desk.store.reader()
        generation = await reader.generation()
        assert await desk.operator.pause("billing", actor="ann", tenant_id="acme")
        assert not await desk.operator.pause("billing", actor="ann", tenant_id="acme")
        (known,) = await desk.store.subscriptions()
        assert (known.paused, known.paused_tenants) == (False, frozenset({"acme"}))
        assert await reader.generation() != generation
        await reader.close()
        (record,) = await desk.inspector.subscriptions()
        assert (record.paused_at, record.paused_tenants) == (None, ("acme",))
        assert await desk.operator.resume("billing", actor="ann", tenant_id="acme")
        assert not await desk.operator.resume("billing", actor="ann", tenant_id="acme")
        assert (await desk.store.subscriptions())[0].paused_tenants == frozenset()
        assert before.deferred == ()

    async def test_leaves_audit_rows_with_the_tenant(self, desk: Desk) -> None:
        await desk.subscribe()
        await desk.operator.pause("billing", actor="ann", tenant_id="acme")
        with pytest.raises(NotFound):
            await desk.operator.resume("nobody", actor="ann", tenant_id="acme")
        with pytest.raises(InvalidEvent):
            await desk.operator.pause("billing", actor="ann", tenant_id="")
        refused, missing, paused = await desk.inspector.audit()
        assert (paused.action, paused.detail, paused.count, paused.allowed) == ("pause", {"tenant_id": "acme"}, 1, True)
        assert (missing.allowed, refused.allowed) == (False, False)

    async def test_keeps_delivery_rows_of_the_tenant_from_being_claimed(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        await desk.publish(key="k")
        await desk.publish(key="k", tenant="other")
        (lease,) = await desk.lease(subscription)
        rows, _ = await desk.read(lease)
        parked = [Parked(lease.slice, row, State.RETRYING, reason="no") for row in rows]
        await desk.store.settle(Settlement({lease.slice: lease.epoch}, parked=parked))
        await desk.operator.pause("billing", actor="ann", tenant_id="acme")
        claim = await desk.store.claim({lease.slice: lease.epoch}, limit=10)
        assert [due.row.tenant_id for due in claim.due] == ["other"]
        assert claim.next_in is None, "nobody is to wake up for what is paused"
        await desk.operator.resume("billing", actor="ann", tenant_id="acme")
        claim = await desk.store.claim({lease.slice: lease.epoch}, limit=10)
        assert [due.row.tenant_id for due in claim.due] == ["acme"]

    async def test_what_waits_is_nothing_that_a_drain_waits_for(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        await desk.publish(n=3)
        await desk.publish(n=2, tenant="other")
        (lease,) = await desk.lease(subscription)
        rows, _ = await desk.read(lease)
        parked = [Parked(lease.slice, row, State.RETRYING, reason="no", due_in=60.0) for row in rows[1:4]]
        await desk.store.settle(Settlement({lease.slice: lease.epoch}, parked=parked))
        await desk.operator.pause("billing", actor="ann", tenant_id="acme")
        reader = await desk.store.reader()
        horizon = await reader.horizon()
        assert await desk.store.unsettled([subscription.id], horizon) == {subscription.id: 2}
        await reader.close()

    async def test_what_waits_counts_and_raises_no_alarm(self, desk: Desk) -> None:
        await desk.subscribe()
        await desk.publish(n=3, at=datetime(2020, 1, 1, tzinfo=UTC))
        await desk.operator.pause("billing", actor="ann", tenant_id="acme")
        (status,) = (await desk.inspector.status()).subscriptions
        assert (status.backlog, status.lag_seconds, status.waiting_seconds) == (3, None, None)
        await desk.publish(tenant="other")
        (status,) = (await desk.inspector.status()).subscriptions
        assert status.backlog == 4
        assert status.waiting_seconds is not None
        assert status.waiting_seconds < 60

    async def test_a_removed_subscription_takes_its_pauses_with_it(self, desk: Desk) -> None:
        await desk.subscribe()
        await desk.operator.pause("billing", actor="ann", tenant_id="acme")
        await desk.operator.remove("billing", actor="ann")
        await desk.subscribe()
        assert (await desk.store.subscriptions())[0].paused_tenants == frozenset()


class TestConcurrency:
    async def test_is_said_and_taken_back(self, desk: Desk) -> None:
        await desk.subscribe()
        assert await desk.operator.set_concurrency("billing", 4, actor="ann")
        assert not await desk.operator.set_concurrency("billing", 4, actor="ann")
        assert (await desk.store.subscriptions())[0].concurrency == 4
        assert (await desk.inspector.subscriptions())[0].concurrency == 4
        (again,) = await desk.store.register([Declaration("billing", ("order.*", "b"), 1)])
        assert again.concurrency == 4, "a declaration does not take it back"
        assert await desk.operator.set_concurrency("billing", None, actor="ann")
        assert (await desk.store.subscriptions())[0].concurrency is None
        assert [one.detail for one in await desk.inspector.audit()] == [{"to": None}, {"to": 4}, {"to": 4}]

    @pytest.mark.parametrize("number", [0, -1, 10_001])
    async def test_is_refused_outside_of_its_bounds(self, desk: Desk, number: int) -> None:
        await desk.subscribe()
        with pytest.raises(InvalidInput, match="use 1 to 10,000"):
            await desk.operator.set_concurrency("billing", number, actor="ann")
