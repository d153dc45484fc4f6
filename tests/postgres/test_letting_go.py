"""Letting go of a day of PostgreSQL's log: what comes late, what is under way, what a restore makes of it."""

from __future__ import annotations

from contextlib import closing
from uuid import uuid4

import psycopg
import pytest

from holdfast.ids import new_id
from holdfast.stores.values import Parked, Receipt, Settlement, State
from tests.contract.aging import A_DAY
from tests.contract.harness import keys_of
from tests.contract.test_letting_go import laggards, let_go, publish

_OLD_DAY = "(clock_timestamp() at time zone 'UTC')::date - 3"
_LATE = (
    "insert into holdfast.event_log (id, day, tenant_id, event_name, event_key, payload) "
    f"values (%s, {_OLD_DAY}, 't', 'order.placed', %s, '1')"
)


def late(scene, key: str) -> psycopg.Connection:
    """A transaction that has published an event of the old day, and is still open."""
    connection = psycopg.connect(scene.dsn)
    connection.execute(_LATE, [uuid4(), key])
    return connection


async def maintain(scene):
    return await scene.store.maintain(retention=A_DAY)


async def left(scene) -> list[str | None]:
    """Keys of the events that are still there, but for the news of letting go."""
    return [key for key in await scene.stored() if key != "laggard"]


async def test_what_commits_while_it_is_let_go_of_stands_in_the_way_and_has_another_round(scene):
    await scene.subscribe("laggard", patterns=("order.*",), behind_retention="drop")
    await publish(scene, "a")
    with closing(late(scene, "late")) as before:
        (found,) = await laggards(scene)
        assert keys_of(await let_go(scene, found)) == ["a"]
        before.commit()
    assert await maintain(scene) == (0, ("laggard",))
    (found,) = await laggards(scene)
    assert keys_of(await let_go(scene, found)) == ["late"]  # and nothing again
    assert (await maintain(scene)).blocking == ()
    assert await left(scene) == []


async def test_a_publish_that_is_under_way_keeps_the_day(scene):
    await scene.subscribe("laggard", patterns=("order.*",), behind_retention="drop")
    await publish(scene, "a")
    (found,) = await laggards(scene)
    await let_go(scene, found)
    with closing(late(scene, "late")) as slow:
        assert await maintain(scene) == (0, ())  # it waits for nobody for longer than a moment
        slow.commit()
    assert await maintain(scene) == (0, ("laggard",))
    assert await left(scene) == ["a", "late"]


async def test_a_settlement_under_way_comes_first(scene):
    lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="drop")
    await publish(scene, "a")
    (row,) = await scene.rows(lease)
    (found,) = await laggards(scene)
    await let_go(scene, found)
    with closing(psycopg.connect(scene.dsn)) as settling:  # its fence, as every settlement takes it
        settling.execute("select from holdfast.leases for key share")
        assert await maintain(scene) == (0, ())
        assert await left(scene) == ["a"]
    assert await scene.settle(lease, parked=[Parked(lease.slice, row, State.RETRYING)]) == set()
    assert await maintain(scene) == (0, ("laggard",))


async def test_a_day_without_a_partition_of_its_own_is_let_go_of_too(scene):
    await scene.subscribe("laggard", patterns=("order.*",), behind_retention="drop")
    await scene.publish("a", "b")
    day = "(clock_timestamp() at time zone 'UTC')::date"
    await scene.sql(f"update event_log set day = {day} - 40 where day = {day}")
    (found,) = await laggards(scene)
    assert keys_of(await let_go(scene, found)) == ["a", "b"]
    assert await maintain(scene) == (2, ())
    assert await left(scene) == []
    assert await scene.sql("select count(*) from let_go") == [(0,)]


async def test_an_owner_that_has_vanished_is_still_known_to_have(scene):
    lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="drop")
    await scene.lapse(lease)
    await publish(scene, "a")
    (found,) = await laggards(scene)
    await let_go(scene, found)
    await maintain(scene)
    (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=30)
    assert (taken.lost, taken.crashes, taken.clean) == (True, 1, False)


async def test_an_owner_that_lives_has_not_crashed(scene):
    lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="drop")
    await publish(scene, "a")
    (found,) = await laggards(scene)
    await let_go(scene, found)
    await maintain(scene)
    (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=30)
    assert taken.epoch == lease.epoch + 2
    assert await scene.sql("select crashes from leases") == [(1,)]


async def test_a_restore_forgets_what_was_let_go_of_by_the_old_server(scene_of_its_own):
    scene = scene_of_its_own
    lease = await scene.leased("laggard", patterns=("order.*",), behind_retention="drop")
    await publish(scene, "a", "b")
    handled, _ = await scene.rows(lease)
    await scene.store.settle(_handled(lease, handled))
    (found,) = await laggards(scene)
    await let_go(scene, found)
    await scene.sql("select after_restore()")
    assert await scene.sql("select count(*) from let_go") == [(0,)]
    assert await scene.deliveries() == {"b": "pending"}
    assert await maintain(scene) == (0, ("laggard",))


def _handled(lease, row) -> Settlement:
    settlement = Settlement()
    settlement.add(Receipt(lease.slice, row.id, row.day))
    return settlement


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_defaults_of_the_database_change_nothing(scene_of_its_own, isolation):
    scene = scene_of_its_own
    database = scene.dsn.rpartition("/")[2].partition("?")[0]
    await scene.sql(f"alter database {database} set default_transaction_isolation = '{isolation}'")
    await scene.subscribe("laggard", patterns=("order.*",), behind_retention="drop")
    await publish(scene, "a")
    other = await scene.rival()  # connects with the new default
    (found,) = await other.laggards(retention=A_DAY)
    page = await other.left_behind(found, limit=10, max_bytes=100)
    found = await other.let_go(found, page)
    assert await other.end_letting_go(found, archive=None, event_id=new_id())
    assert (await other.maintain(retention=A_DAY)).blocking == ()
    assert await left(scene) == []
