"""Registering: what a subscription is from then on, and from where it reads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from holdfast.errors import IncompatibleSubscription, NotFound
from holdfast.stores.values import Advance, Declaration, Place, Slice
from tests.contract.harness import TTL, event, keys_of

shared = pytest.mark.parametrize("scene", ["file", "postgres", "simulated"], indirect=True)


async def generation(scene) -> int:
    lease = await scene.leased("onlooker")
    return (await scene.read(lease.cursor)).generation


class TestADeclaration:
    async def test_is_kept_with_all_its_policies(self, scene):
        declared = Declaration("billing", ("order.*", "**"), 3, "none", "hold", replayable=False)
        (kept,) = await scene.store.register([declared])
        assert kept[1:8] == ("billing", ("order.*", "**"), 3, "none", "hold", False, False)
        assert await scene.store.subscriptions() == [kept]

    async def test_has_a_free_clean_lease_and_a_cursor_for_each_partition(self, scene):
        subscription = await scene.subscribe(partitions=5)
        leases = await scene.leases(subscription)
        assert [lease.slice for lease in leases] == [Slice(subscription.id, number) for number in range(5)]
        assert {(lease.epoch, lease.clean, lease.lost, lease.crashes) for lease in leases} == {(1, True, False, 0)}
        assert len({lease.cursor for lease in leases}) == 1
        cursors = await scene.store.places([lease.slice for lease in leases])
        assert cursors == {lease.slice: Place(lease.cursor) for lease in leases}

    async def test_several_at_once_come_back_by_name(self, scene):
        names = ["b", "a", "c"]
        subscriptions = await scene.store.register([Declaration(name, ("**",)) for name in names])
        assert sorted(one.name for one in subscriptions) == ["a", "b", "c"]
        assert len({one.id for one in subscriptions}) == 3

    async def test_of_none_is_fine(self, scene):
        assert await scene.store.register([]) == []

    @shared
    async def test_by_twenty_at_once_is_one_subscription(self, scene):
        stores = [scene.store, *[await scene.rival() for _ in range(4)]] * 4
        answers = await asyncio.gather(*(store.register([Declaration("billing", ("**",), 4)]) for store in stores))
        (only,) = await scene.store.subscriptions()
        assert answers == [[only]] * 20
        assert await scene.sql("select count(*) from leases") == [(4,)]
        assert await scene.sql("select count(*) from cursors") == [(4,)]


class TestADeclarationOfAKnownName:
    async def test_changes_patterns_and_policies_and_keeps_id_and_place(self, scene):
        lease = await scene.leased("billing", patterns=("a.*",))
        changed = await scene.subscribe(
            "billing", patterns=("b.*", "a.*"), ordering="none", on_dead="hold", replayable=False
        )
        assert changed[0] == lease.slice.subscription
        assert changed[2:8] == (("b.*", "a.*"), 1, "none", "hold", False, False)
        assert await scene.store.places([lease.slice]) == {lease.slice: Place(lease.cursor)}
        assert await scene.store.renew(scene.worker, {lease.slice: lease.epoch}, ttl=TTL) == {lease.slice}

    async def test_bumps_the_generation_only_when_something_changes(self, scene):
        await scene.subscribe("billing")
        before = await generation(scene)
        await scene.subscribe("billing")
        reader = await scene.reader()
        assert (await scene.read(await self.start(scene), reader)).generation == before
        await scene.subscribe("billing", patterns=("a.*",))
        changed = (await scene.read(await self.start(scene), reader)).generation
        await scene.subscribe("another")
        assert before < changed < (await scene.read(await self.start(scene), reader)).generation

    async def start(self, scene):
        (onlooker,) = [one for one in await scene.store.subscriptions() if one.name == "onlooker"]
        return (await scene.store.places([Slice(onlooker.id, 0)]))[Slice(onlooker.id, 0)].cursor

    async def test_with_another_start_stays_where_it_is(self, scene):
        await scene.publish("a")
        lease = await scene.leased("billing", start="now")
        await scene.subscribe("billing", start="beginning")
        assert await scene.rows(lease) == []

    async def test_with_other_partitions_is_refused_and_nothing_changes(self, scene):
        known = await scene.subscribe("billing", partitions=4)
        refused = [Declaration("new", ("**",)), Declaration("billing", ("other",), 8)]
        with pytest.raises(IncompatibleSubscription, match=r"partitions.*4.*8|4.*8.*partitions"):
            await scene.store.register(refused)
        assert await scene.store.subscriptions() == [known]


class TestTheStart:
    async def test_now_is_what_comes_after_the_registration(self, scene):
        await scene.publish("before")
        lease = await scene.leased(start="now")
        await scene.publish("after")
        assert keys_of(await scene.rows(lease)) == ["after"]

    async def test_beginning_is_all_there_is(self, scene):
        await scene.publish("a", "b")
        lease = await scene.leased(start="beginning")
        await scene.publish("c")
        assert keys_of(await scene.rows(lease)) == ["a", "b", "c"]

    async def test_an_event_is_from_it_on(self, scene):
        _, second, _ = await scene.publish("a", "b", "c")
        lease = await scene.leased(start=second.id)
        await scene.publish("d")
        assert keys_of(await scene.rows(lease)) == ["b", "c", "d"]

    async def test_a_time_is_the_first_event_of_then_or_later(self, scene):
        noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
        minutes = {"a": 0, "b": 10, "c": 5, "d": 20}
        await scene.store.append(
            [event(key, occurred_at=noon + timedelta(minutes=late)) for key, late in minutes.items()], atomic=True
        )
        lease = await scene.leased(start=noon + timedelta(minutes=10))
        await scene.publish("e", occurred_at=noon)
        assert keys_of(await scene.rows(lease)) == ["b", "c", "d", "e"]

    async def test_a_time_that_no_event_has_reached_is_now(self, scene):
        await scene.publish("a")
        lease = await scene.leased(start=datetime(2999, 1, 1, tzinfo=UTC))
        await scene.publish("b")
        assert keys_of(await scene.rows(lease)) == ["b"]

    async def test_an_event_that_is_not_stored_is_an_error_that_registers_nothing(self, scene):
        with pytest.raises(NotFound, match="billing"):
            await scene.store.register([Declaration("billing", ("**",), start=uuid4())])
        assert await scene.store.subscriptions() == []

    async def test_what_was_there_and_is_wanted_is_settled_like_the_rest(self, scene):
        await scene.publish("a", "b")
        lease = await scene.leased(start="beginning")
        _, cursor = await scene.read_all(lease.cursor)
        await scene.settle(lease, advances=[Advance(lease.slice, cursor)])
        assert (await scene.store.places([lease.slice]))[lease.slice].cursor == cursor
        assert (await scene.read_all(cursor))[0] == []
