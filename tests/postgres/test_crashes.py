"""A server that crashes hands out the same transaction ids again; a standby and a copy are not the store."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast.errors import StoreUnavailable, WrongStore
from holdfast.stores import make_store
from holdfast.stores.values import Advance, Parked, Receipt, State
from holdfast.testing import LocalPostgres
from tests.contract.harness import Scene, keys_of, settlement_of
from tests.contract.harness import receipt as receipt_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is not asked for is not written, so that a crash forgets the transactions that rolled back last.
FORGETFUL = {"wal_writer_delay": "10s", "autovacuum": "off", "checkpoint_timeout": "1h"}


@pytest.fixture(scope="module")
def running_server() -> Iterator[LocalPostgres]:
    with LocalPostgres(fsync=False, settings=FORGETFUL) as server:
        yield server


@pytest.fixture
def server(running_server) -> LocalPostgres:
    """May be killed and stopped."""
    running_server.start()
    return running_server


@pytest.fixture
async def scene(server):
    name = f"holdfast_test_{uuid4().hex[:12]}"
    with closing(psycopg.connect(server.dsn(), autocommit=True)) as admin:
        admin.execute(f'create database "{name}"')
    store = make_store(server.dsn(name), timeout=10)
    await store.migrate()
    await store.open()
    scene = Scene("postgres", server.dsn(name), store)
    yield scene
    await scene.close()


async def after_rollbacks(scene, rollbacks: int = 40):
    """A reader and the place that it has in memory, beyond transactions that rolled back."""
    lease = await scene.leased()
    reader = await scene.reader()
    await scene.publish("settled")
    rows, cursor = await scene.read_all(lease.cursor, reader)
    assert keys_of(rows) == ["settled"]
    await scene.settle(lease, advances=[Advance(lease.slice, cursor)])
    with closing(psycopg.connect(scene.dsn)) as connection:
        for _ in range(rollbacks):
            connection.execute("select pg_current_xact_id()")
            connection.rollback()
    page = await scene.read(cursor, reader)
    assert list(page.rows) == []
    return lease, reader, page.cursor


class TestACrash:
    async def test_voids_what_is_in_memory_and_persisted_cursors_lose_nothing(self, server, scene):
        lease, reader, in_memory = await after_rollbacks(scene)
        server.kill()
        server.start()
        again = Scene("postgres", scene.dsn, make_store(scene.dsn, timeout=10))
        await again.store.open()
        for number in range(60):
            await again.publish(str(number))

        with pytest.raises(StoreUnavailable):
            await scene.read(in_memory, reader)
        with pytest.raises(StoreUnavailable, match="ended"):
            await scene.read(in_memory, reader)

        reader = await again.reader()
        persisted = (await again.store.places([lease.slice]))[lease.slice].cursor
        expected = [str(number) for number in range(60)]
        assert keys_of((await scene.read_all(persisted, reader))[0]) == expected
        # The trap did snap: who trusts the snapshot in memory passes over what has the ids of before the crash.
        trusting = keys_of((await scene.read_all(in_memory, await again.reader()))[0])
        assert len(trusting) < 60
        await again.close()

    async def test_is_noticed_by_whoever_only_asks_for_a_horizon(self, server, scene):
        _, reader, _ = await after_rollbacks(scene, 3)
        server.kill()
        server.start()
        with pytest.raises(StoreUnavailable):
            await reader.horizon()
        with pytest.raises(StoreUnavailable, match="ended"):
            await reader.horizon()
        again = Scene("postgres", scene.dsn, make_store(scene.dsn, timeout=10))
        await again.store.open()
        assert await (await again.reader()).horizon()
        await again.close()

    async def test_leaves_what_was_settled_settled_and_leases_with_their_owner(self, server, scene):
        lease = await scene.leased()
        await scene.publish("a", "b")
        await scene.handle_all(lease)
        server.kill()
        server.start()
        scene.store.abandon()
        await scene.store.close()
        scene.store = make_store(scene.dsn, timeout=10)
        await scene.store.open()
        assert len(await scene.consumed()) == 2
        assert await scene.store.renew(scene.worker, {lease.slice: lease.epoch}, ttl=30) == {lease.slice}


class Standby(LocalPostgres):
    """A copy of a server's data that waits for more from a primary."""

    def _is_ready(self) -> bool:
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() in {"ready", "standby"}

    def copy_of(self, server: LocalPostgres, *, waiting: bool) -> None:
        shutil.copytree(server.data_dir, self.data_dir)
        if waiting:
            (self.data_dir / "standby.signal").touch()
        if self._account:
            for folder, _, files in os.walk(self.data_dir):
                for path in (folder, *(f"{folder}/{name}" for name in files)):
                    os.chown(path, self._account[1], self._account[2])


class TestAnotherServer:
    async def test_that_is_a_standby_is_refused(self, server, scene):
        await scene.publish("a")
        await scene.close()
        server.stop()
        standby = Standby(fsync=False)
        try:
            standby.copy_of(server, waiting=True)
            standby.start()
            store = make_store(standby.dsn(scene.dsn.rpartition("/")[2]), timeout=10)
            with pytest.raises(WrongStore, match="standby"):
                await store.open()
            await store.close()
        finally:
            standby.close()

    async def test_whose_transaction_ids_lie_behind_the_cursors_is_refused(self, server, scene):
        await scene.leased()
        await scene.sql("update cursors set done = '4000000:4000000:'")
        store = make_store(scene.dsn, timeout=10)
        with pytest.raises(WrongStore, match="restored or copied"):
            await store.open()
        await store.close()

    async def test_that_the_tables_were_copied_to_is_refused(self, server, scene):
        await scene.sql("update meta set system_identifier = system_identifier + 1")
        store = make_store(scene.dsn, timeout=10)
        with pytest.raises(WrongStore, match="--after-restore"):
            await store.open()
        await store.close()


class TestAsynchronousCommits:
    """By the database's default: a server that crashes forgets its last moments, but none of what we rely on."""

    @pytest.fixture
    async def hasty(self, server, scene):
        with closing(psycopg.connect(server.dsn(), autocommit=True)) as admin:
            name = psycopg.conninfo.conninfo_to_dict(scene.dsn)["dbname"]
            admin.execute(f'alter database "{name}" set synchronous_commit = off')
        hasty = Scene("postgres", scene.dsn, make_store(scene.dsn, timeout=10))
        await hasty.store.open()
        yield hasty
        await hasty.close()

    async def test_forget_no_effect_of_a_handler_and_no_receipt(self, server, hasty):
        lease = await hasty.leased()
        await hasty.publish("a")
        (row,) = await hasty.rows(lease)
        with closing(psycopg.connect(hasty.dsn, autocommit=True)) as admin:
            admin.execute("set synchronous_commit = on; create table effects (id uuid)")
        receipt = Receipt(lease.slice, row.id, row.day, 1)
        async with hasty.store.transaction(receipt, lease.epoch) as transaction:
            await transaction.connection.execute("insert into effects values (%s)", [UUID(bytes=row.id)])
        server.kill()
        server.start()
        with closing(psycopg.connect(hasty.dsn)) as after:
            assert after.execute("select count(*) from effects").fetchone() == (1,)
            assert after.execute("select count(*) from holdfast.receipts").fetchone() == (1,)

    async def test_forget_no_receipt_of_a_flush(self, server, hasty):
        lease = await hasty.leased()
        await hasty.publish("a")
        await hasty.store.settle(settlement_of(receipts=[receipt_of(lease, row) for row in await hasty.rows(lease)]))
        server.kill()
        server.start()
        with closing(psycopg.connect(hasty.dsn)) as after:
            assert after.execute("select count(*) from holdfast.receipts").fetchone() == (1,)

    async def test_forget_no_epoch(self, server, hasty):
        lease = await hasty.leased()
        server.kill()
        server.start()
        with closing(psycopg.connect(hasty.dsn)) as after:
            found = after.execute(
                "select epoch from holdfast.leases where (subscription, partition) = (%s, %s)", lease.slice
            ).fetchone()
        assert found == (lease.epoch,)

    async def test_forget_no_retry(self, server, hasty):
        lease = await hasty.leased()
        await hasty.publish("a")
        (row,) = await hasty.rows(lease)
        await hasty.settle(lease, parked=[Parked(lease.slice, row, State.RETRYING, 1)])
        server.kill()
        server.start()
        with closing(psycopg.connect(hasty.dsn)) as after:
            assert after.execute("select count(*) from holdfast.deliveries").fetchone() == (1,)
