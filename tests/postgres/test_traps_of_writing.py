"""The traps of owning and writing: fences, locks, retention, and commits whose answer nobody heard."""

from __future__ import annotations

import asyncio
import random
import re
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import holdfast.stores.postgres
from holdfast.errors import LeaseLost, StoreBusy
from holdfast.ids import uuid7
from holdfast.stores import make_store
from holdfast.stores.values import Advance, Appended, Parked, Receipt, Released, Settlement, State
from tests.contract.harness import EVERYTHING_IS_OLD, TTL, event, keys_of, until

INSERT = "insert into holdfast.event_store (tenant_id, event_name, event_key, payload) values ('t', 'e', %s, '1')"
SQL_FILES = sorted(Path(holdfast.stores.postgres.__file__).parent.rglob("*.sql"))


def connect(dsn: str, **options) -> psycopg.Connection:
    return psycopg.connect(dsn, **{"autocommit": True} | options)


async def until_blocked(scene, role: str) -> None:
    """Wait until a session of that role of the store waits for somebody's lock."""
    await until(lambda: is_blocked(scene, role))


async def is_blocked(scene, role: str) -> bool:
    found = await scene.sql(
        f"select 1 from pg_stat_activity where application_name = 'holdfast {role}' "
        "and datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"
    )
    return bool(found)


class TestTheFence:
    async def test_makes_a_stale_worker_wait_for_the_take_over_and_then_write_nothing(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        rows = await scene.rows(lease)
        await scene.lapse(lease)
        with closing(connect(scene.dsn, autocommit=False)) as usurper:
            wanted = {
                "worker": uuid4(),
                "ttl": TTL,
                "dead": [],
                "patient": False,
                "subscriptions": [lease.slice[0]],
                "counts": [1],
            }
            usurper.execute(scene.store._statements["acquire"], wanted)
            stale = asyncio.create_task(scene.settle(lease, parked=[Parked(lease.slice, rows[0], State.RETRYING, 1)]))
            await until_blocked(scene, "settle")
            usurper.commit()
        assert await stale == {lease.slice}
        assert await scene.deliveries() == {}

    @pytest.mark.parametrize("statement", ["fence", "require_epoch", "claim"])
    async def test_keeps_a_partition_from_being_taken_over_while_its_owner_writes(self, scene, statement):
        lease = await scene.leased()
        await scene.publish("a")
        await scene.park(lease, await scene.rows(lease), State.PENDING)
        await scene.lapse(lease)
        (subscription, partition), epoch = lease.slice, lease.epoch
        writing = {
            "subscriptions": [subscription], "partitions": [partition], "epochs": [epoch],
            "subscription": subscription, "partition": partition, "epoch": epoch,
            "ids": [delivery for (delivery,) in await scene.sql("select id from deliveries")],
        }  # fmt: skip
        with closing(connect(scene.dsn, autocommit=False)) as owner:
            writing |= {"transaction": owner.execute("select pg_current_xact_id()::text").fetchone()[0]}
            owner.execute(scene.store._statements[statement], writing)
            assert await scene.store.acquire(uuid4(), {subscription: 1}, ttl=TTL) == []
            owner.commit()
        assert len(await scene.store.acquire(uuid4(), {subscription: 1}, ttl=TTL)) == 1

    async def test_at_the_end_of_a_handlers_transaction_finds_the_take_over(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        (row,) = await scene.rows(lease)

        async def handle_too_long() -> None:
            async with scene.store.transaction(Receipt(lease.slice, row.id, row.day), lease.epoch) as transaction:
                await transaction.connection.execute("create table holdfast.effects ()")
                await scene.usurp(lease)

        with pytest.raises(LeaseLost):
            await handle_too_long()
        assert await scene.consumed() == []
        assert await scene.sql("select to_regclass('effects')") == [(None,)]

    async def test_of_a_zombie_that_handles_an_event_lets_its_successor_wait_in_short_turns(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        (row,) = await scene.rows(lease)
        one = Receipt(lease.slice, row.id, row.day)
        zombie = scene.store.transaction(one, lease.epoch)
        await zombie.__aenter__()
        taken = await scene.usurp(lease)
        with pytest.raises(StoreBusy):
            await scene.store.transaction(one, taken.epoch).__aenter__()
        with pytest.raises(LeaseLost):
            await zombie.__aexit__(None, None, None)
        async with scene.store.transaction(one, taken.epoch) as transaction:
            assert not transaction.passed
        assert len(await scene.consumed()) == 1


class TestLocks:
    async def test_renewing_all_against_settling_several_never_deadlocks(self, scene):
        subscriptions = [await scene.subscribe(f"s{number}", partitions=16) for number in range(4)]
        stores = [scene.store, *[await scene.rival() for _ in range(3)]]
        chance = random.Random(7)
        deadline = time.monotonic() + 2

        async def renew(store, worker, leases) -> None:
            while time.monotonic() < deadline:
                held = {lease.slice: lease.epoch for lease in chance.sample(leases, len(leases))}
                assert await store.renew(worker, held, ttl=TTL) == set(held)

        async def settle(store, leases) -> None:
            while time.monotonic() < deadline:
                some = chance.sample(leases, 10)
                advances = [Advance(lease.slice, lease.cursor) for lease in some]
                assert (
                    await store.settle(Settlement({one.slice: one.epoch for one in some}, advances=advances)) == set()
                )

        async def wait_in_vain(store) -> None:
            while time.monotonic() < deadline:
                wanted = {subscription.id: 16 for subscription in subscriptions}
                assert await store.acquire(uuid4(), wanted, ttl=TTL) == []

        works = [wait_in_vain(await scene.rival())]
        for store in stores:
            worker = uuid4()
            leases = [lease for one in subscriptions for lease in await scene.leases(one, worker, count=4)]
            works += [renew(store, worker, leases), settle(store, leases)]
        deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
        before = await scene.sql(deadlocks)
        await asyncio.gather(*works)
        assert await scene.sql(deadlocks) == before

    async def test_owners_in_turn_hand_each_event_out_once(self, scene):
        # Reading the cursor in the statement that takes the lock would give the place of before the wait.
        subscription = await scene.subscribe()
        rivals = [scene.store, *[await scene.rival() for _ in range(2)]]
        seen: list[str | None] = []
        deadline = time.monotonic() + 2

        async def own(store) -> None:
            worker = uuid4()
            reader = await store.reader()
            while time.monotonic() < deadline:
                for lease in await store.acquire(worker, {subscription.id: 1}, ttl=TTL):
                    assert lease.clean
                    page = await reader.read(lease.cursor, limit=5, max_bytes=2**20)
                    seen.extend(keys_of(page.rows))
                    await store.release(worker, [Released(lease.slice, lease.epoch, page.cursor, exact=True)])
            await reader.close()

        async def publish() -> int:
            number = 0
            while time.monotonic() < deadline:
                await scene.store.append([event(str(number))], atomic=True)
                number += 1
            return number

        *_, published = await asyncio.gather(*map(own, rivals), publish())
        (lease,) = await scene.leases(subscription)
        seen += keys_of(await scene.rows(lease))
        assert seen == [str(number) for number in range(published)]

    async def test_a_place_that_comes_with_its_lease_is_not_from_before_the_lock(self, scene):
        # The owner before says goodbye after the statement that takes the lease has begun, and before it has the lock.
        lease = await scene.leased()
        await scene.publish("a")
        _, cursor = await scene.read_all(lease.cursor)
        await scene.lapse(lease)
        await scene.sql(
            "create function public.clock_timestamp() returns timestamptz language plpgsql as $$ begin "
            "perform pg_advisory_xact_lock_shared(1); return pg_catalog.clock_timestamp(); end $$"
        )
        successor = make_store(f"{scene.dsn}?options=-csearch_path%3Dpublic,pg_catalog", timeout=10)
        with closing(connect(scene.dsn)) as gate:
            gate.execute("select pg_advisory_lock(1)")
            acquiring = asyncio.create_task(successor.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL))
            await until_blocked(scene, "lease")
            await scene.store.release(scene.worker, [Released(lease.slice, lease.epoch, cursor, exact=True)])
            gate.execute("select pg_advisory_unlock(1)")
            (taken,) = await acquiring
        await successor.close()
        assert (taken.clean, taken.cursor) == (True, cursor)

    async def test_a_lease_lasts_by_the_clock_of_the_database_however_wrong_the_workers_is(self, scene, monkeypatch):
        subscription = await scene.subscribe()
        monkeypatch.setattr("time.time", lambda: 0.0)
        monkeypatch.setattr("time.time_ns", lambda: 0)
        (lease,) = await scene.leases(subscription)
        left = "select extract(epoch from lease_until - clock_timestamp())::float8 from leases"
        assert TTL - 10 < (await scene.sql(left))[0][0] <= TTL
        assert await scene.store.renew(scene.worker, {lease.slice: lease.epoch}, ttl=2 * TTL) == {lease.slice}
        assert 2 * TTL - 10 < (await scene.sql(left))[0][0] <= 2 * TTL

    async def test_a_lease_taken_in_an_old_transaction_is_not_born_expired(self, scene):
        subscription = await scene.subscribe()
        with closing(connect(scene.dsn, autocommit=False)) as connection:
            connection.execute("select now(), pg_sleep(0.3)")
            wanted = {
                "worker": uuid4(),
                "ttl": 0.2,
                "dead": [],
                "patient": False,
                "subscriptions": [subscription.id],
                "counts": [1],
            }
            connection.execute(scene.store._statements["acquire"], wanted)
            ((is_live,),) = connection.execute("select lease_until > clock_timestamp() from holdfast.leases").fetchall()
        assert is_live

    @pytest.mark.parametrize("path", SQL_FILES, ids=lambda path: path.stem)
    def test_no_statement_uses_the_clock_of_its_transaction_or_a_lock_of_its_session(self, path):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        forbidden = r"\bnow\(\)|current_timestamp|current_date|transaction_timestamp"
        assert not re.search(forbidden, text, re.IGNORECASE)
        assert not re.search(
            r"pg_advisory_lock\(|set_config\([^)]*false\)|^\s*set \w+ (?:to|=) (?:on|off)", text, re.MULTILINE
        )


class TestRetention:
    async def test_waits_for_a_publish_that_is_under_way_and_then_keeps_its_event(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        await scene.handle_all(lease)
        with closing(connect(scene.dsn, autocommit=False)) as slow:
            slow.execute(INSERT, ["slow"])
            assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (0, ())
            slow.commit()
        assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (0, ("billing",))
        assert await scene.stored() == ["a", "slow"]

    @pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
    async def test_sees_what_commits_while_it_waits_for_the_lock(self, scene_of_its_own, isolation):
        """Whatever the database's default says that a transaction may see."""
        scene = scene_of_its_own
        database = conninfo_to_dict(scene.dsn)["dbname"]
        await scene.sql(f"alter database {database} set default_transaction_isolation = '{isolation}'")
        lease = await scene.leased()
        met, number = False, 0
        while not met and number < 50:  # it waits for 0.1 s only, which a busy machine may sleep through
            await scene.publish(f"handled-{number}")
            await scene.handle_all(lease)
            with closing(connect(scene.dsn, autocommit=False)) as slow:
                slow.execute(INSERT, [f"slow-{number}"])
                maintaining = asyncio.create_task(scene.store.maintain(retention=EVERYTHING_IS_OLD))
                while not maintaining.done() and not met:
                    met = await is_blocked(scene, "background")
                slow.commit()
            assert (await maintaining).dropped == 0
            assert f"slow-{number}" in await scene.stored()
            number += 1
        assert met

    async def test_is_not_done_where_it_would_not_see_what_commits_while_it_waits(
        self, scene_of_its_own, monkeypatch, caplog
    ):
        """A pooler may give the setting to one session, and the function to another."""
        scene = scene_of_its_own
        database = conninfo_to_dict(scene.dsn)["dbname"]
        await scene.sql(f"alter database {database} set default_transaction_isolation = 'repeatable read'")
        background = scene.store._background
        run = background.run

        async def run_elsewhere(sql, parameters=None):
            return [] if sql.startswith("set default_transaction_isolation") else await run(sql, parameters)

        monkeypatch.setattr(background, "run", run_elsewhere)
        lease = await scene.leased()
        await scene.publish("a")
        await scene.handle_all(lease)
        assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (0, ())
        (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert re.match(r"drop_day was not done: .* alter role", said)
        assert await scene.stored() == ["a"]

    async def test_keeps_the_content_of_a_dead_letter_that_somebody_retries_meanwhile(self, scene):
        lease = await scene.leased()
        await scene.publish("a", payload=b'"kept"')
        await scene.park(lease, await scene.handle_all(lease), State.DEAD)
        met, tries = False, 0
        while not met and tries < 50:  # it waits for 0.1 s only, which a busy machine may sleep through
            await scene.sql("update deliveries set state = 'dead'")
            with closing(connect(scene.dsn, autocommit=False)) as operator:
                operator.execute("update holdfast.deliveries set state = 'pending'")
                maintaining = asyncio.create_task(scene.store.maintain(retention=EVERYTHING_IS_OLD))
                while not maintaining.done() and not met:
                    met = await is_blocked(scene, "background")
                operator.commit()
            await maintaining
            tries += 1
        assert met
        ((due,), *_) = await scene.store.claim({lease.slice: lease.epoch}, limit=1)
        assert due.row.payload == b'"kept"'

    async def test_does_not_keep_publishers_waiting(self, scene):
        await scene.publish("a")
        with closing(connect(scene.dsn, autocommit=False)) as reading:
            reading.execute("select count(*) from holdfast.event_log")
            begun = time.monotonic()
            maintaining = asyncio.create_task(scene.store.maintain(retention=EVERYTHING_IS_OLD))
            while not maintaining.done():
                await (await scene.rival()).append([event("b")], atomic=True)
            assert time.monotonic() - begun < 5
            assert (await maintaining).dropped == 0

    async def test_drops_the_partitions_of_the_day_themselves(self, scene):
        await scene.publish("a")
        tables = "select count(*) from pg_class where relname ~ '^(event_log|receipts)_2' and relkind = 'r'"
        ((before,),) = await scene.sql(tables)
        assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (1, ())
        ((after,),) = await scene.sql(tables)
        assert before - after == 4  # today's, and tomorrow's, which is two days old by this retention time, too


class TestPublishing:
    async def test_a_cancelled_insert_may_have_committed_and_its_id_makes_a_repeat_safe(self, scene):
        events = [event(str(number)) for number in range(60)]
        heard = 0
        for number, one in enumerate(events):
            task = asyncio.create_task(scene.store.append([one], atomic=True))
            await asyncio.wait([task], timeout=number * 0.0001)
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
                heard += 1
        committed = set(await scene.stored())
        again = [(await scene.store.append([one], atomic=True))[0] for one in events]
        assert [outcome is Appended.DUPLICATE for outcome in again] == [one.key in committed for one in events]
        assert sorted(await scene.stored(), key=int) == [str(number) for number in range(60)]
        assert heard <= len(committed)

    @pytest.mark.parametrize(
        ("days", "is_its_own"), [(-2, False), (-1, True), (1, True), (2, True), (7, True), (8, False)]
    )
    async def test_an_id_keeps_its_day_though_the_servers_clock_is_set_back(self, scene, days, is_its_own):
        """To a clock that was set back by so many days an id of just now is of so many days to come."""
        when = datetime.now(UTC) + timedelta(days=days)
        new = event("a")._replace(id=uuid7(int(when.timestamp() * 1000), uuid4().bytes[:10]))
        rows = await scene.sql(f"select holdfast.event_day('{new.id}')")
        assert rows[0][0] == (when if is_its_own else datetime.now(UTC)).date()

    @pytest.mark.parametrize("target", ["event_log", "event_store", "today", "event_log_default"])
    @pytest.mark.parametrize("way", ["insert", "copy"])
    @pytest.mark.parametrize("role", ["origin", "replica"])
    async def test_commits_synchronously_whatever_the_session_says(self, scene, target, way, role):
        if (target, way) == ("event_store", "copy"):
            target = "event_log"  # a view takes no COPY
        columns = "tenant_id, event_name, payload"
        if target == "today":
            ((target,),) = await scene.sql(
                "select 'event_log_' || to_char((clock_timestamp() at time zone 'UTC')::date, 'YYYYMMDD')"
            )
        day = "2099-01-01" if target == "event_log_default" else None
        columns += ", day" if day else ""
        values = ["t", "e", "1", *([day] if day else [])]
        with closing(connect(scene.dsn)) as connection:
            connection.execute("set search_path = holdfast; set synchronous_commit = off")
            connection.execute(f"set session_replication_role = {role}")
            with connection.transaction():
                if way == "copy":
                    with connection.cursor().copy(f"copy {target} ({columns}) from stdin") as copy:
                        copy.write_row(values)
                else:
                    marks = ", ".join(["%s"] * len(values))
                    connection.execute(f"insert into {target} ({columns}) values ({marks})", values)
                ((within,),) = connection.execute("show synchronous_commit").fetchall()
            ((after,),) = connection.execute("show synchronous_commit").fetchall()
        assert (within, after) == ("on", "off")

    async def test_keeps_the_weaker_safety_that_a_standby_allows(self, scene):
        with closing(connect(scene.dsn)) as connection, connection.transaction():
            connection.execute("set local synchronous_commit = local")
            connection.execute(INSERT, ["a"])
            assert connection.execute("show synchronous_commit").fetchall() == [("local",)]

    async def test_no_business_transaction_carries_a_notification(self, scene):
        with closing(connect(scene.dsn)) as listener, closing(connect(scene.dsn, autocommit=False)) as business:
            listener.execute("listen holdfast_holdfast")
            scene.store.append_within_sync(business, [event("a")])
            business.execute(INSERT, ["b"])
            business.commit()
            await scene.store.append([event("c")], atomic=True)
            await scene.store.notify()
            await scene.store.notify()
            heard = list(listener.notifies(timeout=10, stop_after=2))
            assert [hint.payload for hint in heard] == ["", ""]
            assert list(listener.notifies(timeout=0)) == []

    async def test_of_the_same_ids_in_opposite_order_harms_nobody(self, scene):
        rival = await scene.rival()
        for _ in range(3):
            batch = [event(str(number)) for number in range(50)]
            outcomes = await asyncio.gather(
                scene.store.append(batch, atomic=False), rival.append(batch[::-1], atomic=False), return_exceptions=True
            )
            assert all(isinstance(outcome, list | StoreBusy) for outcome in outcomes)  # a deadlock may be repeated
        stored = await scene.stored()
        assert len(stored) == 150


class TestClaiming:
    async def test_takes_no_more_than_its_limit_whatever_the_plan(self, scene):
        lease = await scene.leased()
        await scene.publish(*map(str, range(200)))
        await scene.park(lease, await scene.rows(lease))
        await scene.store._work.run("set jit = off")  # the plans forced here cost so much that they would be compiled
        for switch in ("enable_hashjoin", "enable_mergejoin", "enable_nestloop", "enable_material", "enable_sort"):
            await scene.store._work.run(f"set {switch} = off")
            assert len(await scene.claim(lease, 7)) == 7
        assert await scene.sql("select count(*) from deliveries where state = 'running'") == [(35,)]
