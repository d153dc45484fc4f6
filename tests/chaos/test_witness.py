"""Whoever writes in a partition that is not its own is seen: in each way that the engine writes, on both stores."""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from holdfast.stores import make_store
from holdfast.stores.values import Advance, Finished, Released, Revised, State
from holdfast.testing import LocalPostgres
from tests.chaos.collecting import collect
from tests.chaos.scene import Stage
from tests.chaos.witness import POSTGRES, TABLE, WatchedStore, witnessed
from tests.contract.harness import Scene, until, worker_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from holdfast.stores.values import Lease

ANOTHER = 1
STORES = ("postgres", "sqlite")


@pytest.fixture(params=STORES)
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    kind = request.param
    dsn = request.getfixturevalue("migrated_dsn" if kind == "postgres" else "sqlite_dsn")
    store = make_store(witnessed(dsn)) if kind == "postgres" else await with_tables(dsn)
    await store.open()
    scene = Scene(kind, dsn, store)
    if kind == "postgres":
        async with session(scene) as connection:
            await connection.execute(POSTGRES)
    yield scene
    await scene.close()


async def with_tables(dsn: str) -> WatchedStore:
    """Triggers can be made on tables that are there."""
    store = make_store(dsn)
    await store.migrate()
    await store.close()
    scene = Scene("sqlite", dsn, store)
    await scene.sql(TABLE)
    return WatchedStore.from_dsn(dsn)  # type: ignore[return-value]


async def owned_by(scene: Scene, pid: int) -> Lease:
    """The partition of a worker that is a process of this number."""
    subscription = await scene.subscribe()
    await scene.store.heartbeat(worker_info(scene.worker, subscription.id, pid=pid), ttl=30)
    (lease,) = await scene.leases(subscription)
    return lease


async def told(scene: Scene) -> list[str]:
    return [one for (one,) in await scene.sql("select told from stale_writes")]


async def write_everything(scene: Scene, lease: Lease) -> dict[str, list[str]]:
    """Do all that the engine does to a partition; returns what was told of each step."""
    found: dict[str, list[str]] = {}

    async def note(step: str) -> None:
        found[step] = (await told(scene))[sum(map(len, found.values())) :]

    events = await scene.publish("a", "b", "c")
    rows = await scene.rows(lease)
    await scene.park(lease, rows[:2])
    await note("park")
    done, dead = (await scene.store.claim({lease.slice: lease.epoch}, limit=10)).due
    await note("claim")
    await scene.settle(lease, finished=[Finished(lease.slice, done.delivery, done.claim)])
    await note("finish")
    await scene.settle(lease, revised=[Revised(lease.slice, dead.delivery, dead.claim, State.DEAD, 1, reason="no")])
    await note("revise")
    (taken,) = await scene.store.take_in(lease.slice, lease.epoch, rows[2:])
    await note("take in")
    await scene.store.begin_attempt(taken, lease.epoch)
    await note("begin an attempt")
    await scene.settle(lease, advances=[Advance(lease.slice, lease.cursor)])
    await note("advance")
    await scene.store.release(scene.worker, [Released(lease.slice, lease.epoch, lease.cursor, exact=False)])
    await note("release")
    assert len(events) == len(rows)
    return found


async def test_of_what_the_owner_writes_nothing_is_told(scene: Scene) -> None:
    found = await write_everything(scene, await owned_by(scene, os.getpid()))
    assert not any(found.values()), found


async def test_of_what_another_process_writes_each_row_is_told(scene: Scene) -> None:
    lease = await owned_by(scene, ANOTHER)
    subscription, partition = lease.slice
    about = f"process {os.getpid()} wrote partition {partition} of subscription {subscription}, which process {ANOTHER} owned"
    deliveries, cursors = f"deliveries: {about}", f"cursors: {about}"
    assert await write_everything(scene, lease) == {
        "park": [deliveries] * 2, "claim": [deliveries] * 2, "finish": [deliveries], "revise": [deliveries],
        "take in": [deliveries], "begin an attempt": [deliveries], "advance": [cursors],
        "release": [],  # the lease is nobody's by then
    }  # fmt: skip


async def test_whoever_keeps_house_may_date_anew_what_others_own(scene: Scene) -> None:
    lease = await owned_by(scene, ANOTHER)
    await scene.publish("a")
    await scene.park(lease, await scene.rows(lease))
    before = await told(scene)
    await scene.sql("update deliveries set updated_at = '2999-01-01 00:00:00.000000'")
    await scene.store.maintain(retention=None)
    assert await told(scene) == before


# ---- PostgreSQL: what passes the fence by

_BLIND = """
    select l.subscription, l.partition from holdfast.leases as l
    join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[])
        as held(subscription, partition, epoch) on l.subscription = held.subscription and l.partition = held.partition
"""


@pytest.mark.parametrize("scene", ["postgres"], indirect=True)
async def test_the_owners_own_write_under_an_older_epoch_is_told_where_the_fence_is_blind(scene: Scene) -> None:
    old = await owned_by(scene, os.getpid())
    await scene.lapse(old)
    await scene.store.acquire(scene.worker, {old.slice.subscription: 1}, ttl=30)
    assert await scene.settle(old, advances=[Advance(old.slice, old.cursor)]) == {old.slice}
    assert await told(scene) == []
    scene.store._statements._texts["fence"] = _BLIND  # type: ignore[attr-defined]
    await scene.settle(old, advances=[Advance(old.slice, old.cursor)])
    subscription, partition = old.slice
    assert await told(scene) == [
        f"cursors: process {os.getpid()} wrote partition {partition} of subscription {subscription} without its lease in hand"
    ]


@asynccontextmanager
async def session(scene: Scene) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(witnessed(scene.dsn), autocommit=True) as connection:
        yield connection


_LOCK = "begin; select from holdfast.leases for key share"
_MOVE = "update holdfast.cursors set position = position"


@pytest.mark.parametrize("scene", ["postgres"], indirect=True)
async def test_a_lease_that_others_lock_and_prolong_meanwhile_is_in_hand_all_the_same(scene: Scene) -> None:
    lease = await owned_by(scene, os.getpid())
    async with session(scene) as before, session(scene) as writer, session(scene) as after:
        for connection in (before, writer, after):
            await connection.execute(_LOCK)
        await scene.store.renew(scene.worker, {lease.slice: lease.epoch}, ttl=30)
        await before.execute("commit")
        await writer.execute(f"{_MOVE}; commit")
        assert await told(scene) == []
        await after.execute("commit")
        await after.execute(_MOVE)
        assert "without its lease in hand" in (await told(scene))[0]


# ---- Real workers


@pytest.fixture(params=STORES)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    if request.param == "sqlite":
        yield await prepared(tmp_path, None)
    else:
        with LocalPostgres(fsync=False) as server:
            yield await prepared(tmp_path, server)


async def prepared(folder: Path, server: LocalPostgres | None) -> Stage:
    stage = Stage(
        "witness", folder / "run", random.Random(1), server=server, proxy=None, spool=folder / "spool", seconds=1,
        per_second=1,
    )  # fmt: skip
    await stage.prepare()
    return stage


async def test_a_worker_that_writes_what_was_taken_from_it_is_evidence(stage: Stage) -> None:
    """Its leases change hands under it, with their epochs as they were, while it handles an event."""
    h, nothing = ("", "[]") if stage.server is None else ("holdfast.", "{}")
    thief, now = uuid4(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    await stage.run_sql(
        f"insert into {h}workers (id, host, boot_id, pid, pid_started, version, subscriptions, started_at, heartbeat_at) "
        f"values ('{thief}', 'elsewhere', 'boot', {ANOTHER}, 'then', '1', '{nothing}', '{now}', '{now}')"
    )

    async def publish() -> None:
        await stage.run_sql(f"insert into {h}event_store (event_name, payload) values ('load.dead', '{{}}')")

    async def count(table: str) -> int:
        await stage.sleep(0.05)
        return int((await stage.run_sql(f"select count(*) from {table}"))[0][0])

    async def has_more_attempts(than: int) -> bool:
        return await count(f"{h}attempts") > than

    await stage.start(1, 0)
    try:
        while not await count("stale_writes"):  # unless it notices at once, by its heartbeat
            await until(lambda: count(f"{h}leases where owner <> '{thief}'"), 30)
            before = await count(f"{h}attempts")
            await publish()
            await until(partial(has_more_attempts, before), 30)
            await stage.run_sql(f"update {h}leases set owner = '{thief}' where owner is not null")
            await publish()
            await stage.sleep(0.5)
        (worker,) = stage.processes
        evidence = await collect(stage, {}, [])
        assert any(f"process {worker.pid} wrote" in one for one in evidence.stale_writes), evidence.stale_writes
        assert all(f"process {ANOTHER} owned" in one for one in evidence.stale_writes), evidence.stale_writes
    finally:
        await stage.close()
