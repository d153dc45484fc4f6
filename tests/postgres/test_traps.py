"""The traps of the design, each with real connections: what naive stores lose, and this one does not.

Reading here; owning and writing in ``test_traps_of_writing.py``, crashes in ``test_crashes.py``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from contextlib import closing
from itertools import pairwise
from uuid import uuid4

import psycopg
import pytest

from holdfast import Event, EventBus
from holdfast.errors import StoreUnavailable, WrongStore
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from holdfast.stores.sql import Statements
from holdfast.stores.values import Advance, Released
from holdfast.worker.hand import PAGE_EVENTS
from tests.contract.harness import EVERYTHING_IS_OLD, TTL, Scene, event, keys_of
from tests.postgres.writers import NaiveCursor, Writers

INSERT = "insert into holdfast.event_store (tenant_id, event_name, event_key, payload) values ('t', 'e', %s, '1')"


def connect(dsn: str, **options) -> psycopg.Connection:
    return psycopg.connect(dsn, **{"autocommit": True} | options)


async def place(scene: Scene):
    """A cursor after which nothing is stored yet, and the reader that took it."""
    lease = await scene.leased()
    reader = await scene.reader()
    return (await scene.read_all(lease.cursor, reader))[1], reader


STATEMENTS = Statements("holdfast.stores.postgres", "holdfast")
TODAY = "(clock_timestamp() at time zone 'UTC')::date"


def store_snapshot(connection: psycopg.Connection, day: str = TODAY) -> None:
    """As `maintain` does it, whatever the time since the one before."""
    ((snap, on_day),) = connection.execute(f"select pg_current_snapshot()::text, {day}").fetchall()
    connection.execute(STATEMENTS["store_snapshot"], {"snap": snap, "day": on_day})


class TestConcurrentWriters:
    async def test_a_naive_cursor_loses_events_where_windows_between_snapshots_lose_none(self, scene):
        cursor, reader = await place(scene)
        start, seen = cursor, []
        seed = time.time_ns() % 2**32
        with closing(connect(scene.dsn)) as connection, Writers(scene.dsn, threads=10, seed=seed) as writers:
            naive = NaiveCursor(connection)
            deadline, turn = time.monotonic() + 4, 0
            while time.monotonic() < deadline:
                turn += 1
                page = await scene.read(cursor, reader, limit=7 if turn % 3 else 1000)
                seen += page.rows
                cursor = page.cursor
                naive.read()
                if turn % 20 == 0:
                    store_snapshot(connection)
            writers.stop()
            naive.read()
            seen += (await scene.read_all(cursor, reader))[0]
        assert writers.errors == [], f"seed {seed}"
        laggard = (await scene.read_all(start, limit=7))[0]
        assert len(writers.committed) > 200
        for rows in (seen, laggard):
            tags = [json.loads(row.payload) for row in rows]
            assert len(tags) == len(set(tags)), f"seed {seed}"
            assert set(tags) == writers.committed, f"seed {seed}"
            assert not set(tags) & writers.undone
            in_order = defaultdict(list)
            for row, tag in zip(rows, tags, strict=True):
                if row.key is not None:
                    in_order[row.key].append(int(tag.partition(":")[2]))
            assert all(numbers == list(range(len(numbers))) for numbers in in_order.values()), f"seed {seed}"
        assert len(writers.committed - naive.seen) > 0, f"the trap did not snap; seed {seed}"

    async def test_a_laggard_goes_on_behind_a_window_in_which_nothing_has_come(self, scene):
        cursor, _ = await place(scene)
        with closing(connect(scene.dsn)) as connection:
            for _ in range(2):
                connection.execute("select pg_current_xact_id()")
                store_snapshot(connection)
        await scene.publish(*map(str, range(20)))
        assert keys_of((await scene.read_all(cursor, limit=7))[0]) == [str(n) for n in range(20)]

    async def test_an_open_transaction_holds_nobody_up_and_is_read_when_it_commits(self, scene):
        cursor, reader = await place(scene)
        with closing(connect(scene.dsn, autocommit=False)) as early, closing(connect(scene.dsn)) as orphan:
            early.execute("select pg_current_xact_id()")
            early.execute(INSERT, ["early"])
            orphan.execute("begin")
            orphan.execute(INSERT, ["orphan"])
            orphan.execute("prepare transaction 'orphan'")
            await scene.publish("a", "b")
            page = await scene.read(cursor, reader)
            assert keys_of(page.rows) == ["a", "b"]
            early.commit()
            await scene.publish("c")
            page = await scene.read(page.cursor, reader)
            assert keys_of(page.rows) == ["early", "c"]
            orphan.execute("commit prepared 'orphan'")
            assert keys_of((await scene.read(page.cursor, reader)).rows) == ["orphan"]

    async def test_a_cause_comes_before_its_effect_though_the_effect_has_the_earlier_transaction(self, scene):
        cursor, reader = await place(scene)
        with closing(connect(scene.dsn, autocommit=False)) as early:
            early.execute("select pg_current_xact_id()")
            await scene.publish("cause")
            early.execute(INSERT, ["effect"])
            early.commit()
        by_transaction = await scene.sql("select event_key from event_log order by txid, position")
        assert by_transaction == [("effect",), ("cause",)]
        assert keys_of((await scene.read(cursor, reader)).rows) == ["cause", "effect"]

    async def test_now_is_what_the_registration_does_not_see_also_what_was_inserted_before_it(self, scene):
        with closing(connect(scene.dsn, autocommit=False)) as open_one:
            open_one.execute(INSERT, ["open"])
            await scene.publish("before")
            lease = await scene.leased(start="now")
            open_one.commit()
        await scene.publish("after")
        assert keys_of(await scene.rows(lease)) == ["open", "after"]

    async def test_the_order_of_a_batch_survives_duplicates_in_it(self, scene):
        cursor, reader = await place(scene)
        known = [event(f"k{number}") for number in range(0, 2000, 2)]
        await scene.store.append(known, atomic=True)
        mixed = [event(f"k{n}") if n % 2 else known[n // 2] for n in range(2000)]
        await scene.store.append(mixed, atomic=False)
        rows, _ = await scene.read_all(cursor, reader)
        assert keys_of(rows[1000:]) == [f"k{number}" for number in range(1, 2000, 2)]


class TestTheDefaultPartition:
    async def test_takes_what_has_no_partition_and_gives_it_to_readers(self, scene):
        cursor, reader = await place(scene)
        await scene.sql("select drop_day(to_char((clock_timestamp() at time zone 'UTC')::date, 'YYYYMMDD'))")
        (first,) = await scene.publish("a")
        assert await scene.sql("select count(*) from event_log_default") == [(1,)]
        assert keys_of((await scene.read(cursor, reader)).rows) == ["a"]
        await scene.publish("a", event_id=first.id)
        assert await scene.stored() == ["a"]

    async def test_keeps_its_rows_so_no_reader_misses_them_and_other_days_get_their_partition(self, scene):
        cursor, reader = await place(scene)
        day = await self.drop_all_days(scene)
        await scene.publish("a")
        await scene.store.maintain(retention=None)
        assert await scene.sql("select count(*) from event_log_default") == [(1,)]
        names = {name for (name,) in await scene.sql("select relname from pg_class where relname ~ '^event_log_2'")}
        assert f"event_log_{day}" not in names
        assert len([name for name in names if not name.endswith("_pkey") and "idx" not in name]) >= 7
        assert keys_of((await scene.read(cursor, reader)).rows) == ["a"]

    async def test_gives_up_its_rows_to_retention_day_by_day_and_no_sooner(self, scene):
        lease = await scene.leased()
        await scene.leased("laggard")
        await self.drop_all_days(scene)
        await scene.publish("a", "b")
        await scene.handle_all(lease)
        assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (0, ("laggard",))
        await scene.sql("delete from subscriptions where name = 'laggard'")
        # A slow publish of that day keeps the check out, or it would be deleted unseen.
        with closing(connect(scene.dsn, autocommit=False)) as slow:
            slow.execute(INSERT, ["slow"])
            assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (0, ())
            slow.commit()
        assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (0, ("billing",))
        await scene.handle_all(lease)
        assert await scene.store.maintain(retention=EVERYTHING_IS_OLD) == (3, ())
        assert await scene.sql("select (select count(*) from event_log), (select count(*) from receipts)") == [(0, 0)]
        await scene.publish("c")
        assert await scene.store.maintain(retention=3600.0) == (0, ())
        assert await scene.stored() == ["c"]

    async def drop_all_days(self, scene) -> str:
        days = [day for (day,) in await scene.sql("select to_char((clock_timestamp() at time zone 'UTC')::date + n, "
                                                  "'YYYYMMDD') from generate_series(0, 7) as n")]  # fmt: skip
        for day in days:
            await scene.sql(f"select drop_day('{day}')")
        return days[0]

    async def test_days_are_made_seven_ahead_by_many_at_once(self, scene):
        await self.drop_all_days(scene)
        stores = [scene.store, *[await scene.rival() for _ in range(3)]]
        await asyncio.gather(*(store.maintain(retention=None) for store in stores))
        await scene.store.maintain(retention=None)
        await scene.publish("a")
        assert await scene.sql("select count(*) from event_log_default") == [(0,)]
        made = "select count(*) from pg_inherits where inhparent = 'event_log'::regclass"
        assert await scene.sql(made) == [(9,)]  # today, seven days, the default


class TestTheDayFloor:
    async def test_lies_below_what_an_old_transaction_wrote_long_ago(self, scene):
        # "Ago" is told to the tables: a transaction wrote five days ago and commits today, after younger snapshots.
        cursor, reader = await place(scene)
        with closing(connect(scene.dsn, autocommit=False)) as old, closing(connect(scene.dsn)) as connection:
            store_snapshot(connection, f"{TODAY} - 6")
            old.execute(
                "insert into holdfast.event_log (event_name, event_key, payload, day) "
                f"values ('e', 'old', '1', {TODAY} - 5)"
            )
            for _ in range(3):
                store_snapshot(connection)
                cursor = (await scene.read(cursor, reader)).cursor
            # The floor is found for this place, by a reader whose first, unpruned read is over.
            later = await scene.reader()
            assert list((await scene.read(cursor, later)).rows) == []
            old.commit()
        assert keys_of((await scene.read(cursor, later)).rows) == ["old"]

    async def test_lies_not_above_today_though_the_clock_was_ahead_when_a_snapshot_was_stored(self, scene):
        cursor, reader = await place(scene)
        with closing(connect(scene.dsn)) as connection:
            store_snapshot(connection, f"{TODAY} + 10")
        cursor, later = await self.place_of_another_reader(scene, cursor, reader)
        await scene.publish("a")
        assert keys_of((await scene.read(cursor, later)).rows) == ["a"]

    async def test_lies_below_what_was_written_while_the_clock_was_days_behind(self, scene):
        cursor, reader = await place(scene)
        with closing(connect(scene.dsn)) as connection:
            store_snapshot(connection)
            cursor, later = await self.place_of_another_reader(scene, cursor, reader)
            connection.execute("select pg_current_xact_id()")  # what comes now is later than the place
            store_snapshot(connection, f"{TODAY} - 5")
            connection.execute(
                "update holdfast.snapshots set at = at - interval '5 days' where at = (select max(at) from holdfast.snapshots)"
            )
            connection.execute(
                f"insert into holdfast.event_log (event_name, event_key, payload, day) values ('e', 'a', '1', {TODAY} - 5)"
            )
            store_snapshot(connection)
        assert keys_of((await scene.read(cursor, later)).rows) == ["a"]

    async def test_is_found_anew_when_the_clock_steps_back_under_a_reader(self, scene):
        await scene.sql("create table public.clock as select 0 as days_behind")
        await scene.sql(
            "create function public.clock_timestamp() returns timestamptz language sql as "
            "'select pg_catalog.clock_timestamp() - days_behind * interval ''1 day'' from public.clock'"
        )
        behind = make_store(f"{scene.dsn}?options=-csearch_path%3Dpublic,pg_catalog", timeout=10)
        other = Scene("postgres", scene.dsn, behind)
        await behind.open()
        cursor, reader = await place(other)
        with closing(connect(scene.dsn)) as connection:
            store_snapshot(connection)
            cursor, later = await self.place_of_another_reader(other, cursor, reader)
            assert list((await other.read(cursor, later)).rows) == []  # with a floor, of today
            connection.execute("update public.clock set days_behind = 5")
            connection.execute(
                f"insert into holdfast.event_log (event_name, event_key, payload, day) values ('e', 'a', '1', {TODAY} - 5)"
            )
        assert keys_of((await other.read(cursor, later)).rows) == ["a"]
        await other.close()

    async def test_is_found_anew_for_a_place_that_is_older(self, scene):
        cursor, reader = await place(scene)
        with closing(connect(scene.dsn)) as connection:
            store_snapshot(connection, f"{TODAY} - 6")
            old, later = await self.place_of_another_reader(scene, cursor, reader)
            connection.execute(
                f"insert into holdfast.event_log (event_name, event_key, payload, day) values ('e', 'a', '1', {TODAY} - 5)"
            )
            store_snapshot(connection)
        young = (await scene.read(old, reader)).cursor
        assert list((await scene.read(young, later)).rows) == []
        assert keys_of((await scene.read(old, later)).rows) == ["a"]

    async def place_of_another_reader(self, scene, cursor, reader):
        """A place from now, and a reader whose first, unpruned read is over."""
        cursor, later = (await scene.read(cursor, reader)).cursor, await scene.reader()
        assert list((await scene.read(cursor, later)).rows) == []
        return cursor, later

    async def test_prunes_the_days_before_it(self, scene):
        cursor, reader = await place(scene)
        with closing(connect(scene.dsn)) as connection:
            for number in range(3):
                connection.execute(INSERT, [str(number)])
                store_snapshot(connection)
        done = (await scene.read_all(cursor, reader))[1].done
        ((floor, today),) = await scene.sql(
            scene.store._statements["day_floor"].replace("%(done)s", f"'{done}'").replace("%%", "%")[:-2].join(
                ["select floor, (clock_timestamp() at time zone 'UTC')::date from (", ") as f(floor)"]
            )
        )  # fmt: skip
        assert (today - floor).days == 2

    async def test_is_of_utc_whatever_the_session_says(self, scene):
        cursor, reader = await place(scene)
        for zone in ("Pacific/Kiritimati", "Pacific/Niue", "UTC"):
            with closing(connect(scene.dsn)) as connection:
                connection.execute(f"set timezone = '{zone}'")
                connection.execute(INSERT, [zone])
        days = await scene.sql("select distinct day = (clock_timestamp() at time zone 'UTC')::date from event_log")
        assert days == [(True,)]
        assert len((await scene.read(cursor, reader)).rows) == 3


class TestAReadThatCannotBeTrusted:
    @pytest.fixture
    def scene(self, scene_of_its_own):
        return scene_of_its_own

    async def test_in_a_transaction_with_an_id_of_its_own_says_so(self, scene):
        lease = await scene.leased()
        statement = scene.store._statements["read_new"]
        bounds = {"done": lease.cursor.done, "floor": "-infinity", "limit": 10, "max_bytes": 1000}
        with closing(connect(scene.dsn, autocommit=False)) as connection:
            before = connection.execute(statement, bounds).fetchall()[0]
            connection.execute("select pg_current_xact_id()")
            after = connection.execute(statement, bounds).fetchall()[0]
        assert before[7] is not None
        assert after[7] is None

    async def test_behind_row_security_is_refused_at_the_start(self, scene):
        await self.hide_rows(scene)
        store = make_store(scene.dsn.replace("postgres@", "onlooker@"), timeout=10)
        with pytest.raises(WrongStore, match="row security"):
            await store.open()
        await store.close()

    async def test_behind_row_security_that_comes_later_leaves_the_cursor_where_it_is(self, scene):
        cursor, _ = await place(scene)
        await self.make_onlooker(scene)
        onlooker = Scene("postgres", scene.dsn, make_store(scene.dsn.replace("postgres@", "onlooker@"), timeout=10))
        await onlooker.store.open()
        reader = await onlooker.reader()
        await scene.publish("a")
        assert keys_of((await onlooker.read(cursor, reader)).rows) == ["a"]
        await self.hide_rows(scene)
        with pytest.raises(StoreUnavailable, match="row security"):
            await onlooker.read(cursor, reader)
        await onlooker.close()

    async def make_onlooker(self, scene) -> None:
        await scene.sql("do $$ begin create role onlooker login; exception when duplicate_object then null; end $$")
        await scene.sql("grant usage on schema holdfast to onlooker")
        await scene.sql("grant all on all tables in schema holdfast to onlooker")

    async def hide_rows(self, scene) -> None:
        await self.make_onlooker(scene)
        await scene.sql("alter table event_log enable row level security")
        await scene.sql("create policy none_of_it on event_log using (false)")

    async def test_a_role_that_defaults_to_repeatable_read_reads_on(self, scene):
        name = scene.dsn.rpartition("/")[2]
        await scene.sql(f'alter database "{name}" set default_transaction_isolation = "repeatable read"')
        other = Scene("postgres", scene.dsn, make_store(scene.dsn, timeout=10))
        await other.store.open()
        cursor, reader = await place(other)
        for key in ("a", "b"):
            await scene.publish(key)
            page = await other.read(cursor, reader)
            assert keys_of(page.rows) == [key]
            cursor = page.cursor
        await other.close()


class TestASnapshotInMemory:
    async def test_is_dropped_when_the_server_is_another_behind_the_same_connection(self, scene):
        cursor, reader = await place(scene)
        await scene.publish("a")
        await scene.sql("delete from incarnation")  # as a crash does, unseen behind a pooler
        with pytest.raises(StoreUnavailable, match="crashed"):
            await scene.read(cursor, reader)
        reader = await scene.reader()
        assert keys_of((await scene.read(cursor, reader)).rows) == ["a"]
        await scene.sql(f"update incarnation set id = '{uuid4()}'")
        with pytest.raises(StoreUnavailable, match="crashed"):
            await reader.horizon()
        with pytest.raises(StoreUnavailable, match="ended"):
            await scene.read(cursor, reader)  # whoever else used it must hear of it too
        assert keys_of((await scene.read(cursor, await scene.reader())).rows) == ["a"]

    async def test_is_neither_written_nor_called_exact_once_the_server_is_another(self, scene):
        lease = await scene.leased()
        page = await scene.read(lease.cursor)
        await scene.sql("delete from incarnation; insert into incarnation default values")
        await scene.settle(lease, advances=[Advance(lease.slice, page.cursor, page.incarnation)])
        assert (await scene.store.places([lease.slice]))[lease.slice].cursor == lease.cursor
        goodbye = Released(lease.slice, lease.epoch, page.cursor, exact=True, incarnation=page.incarnation)
        await scene.store.release(scene.worker, [goodbye])
        (taken,) = await scene.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        assert (taken.clean, taken.cursor) == (False, lease.cursor)

    async def test_is_dropped_with_its_session(self, scene):
        cursor, reader = await place(scene)
        await scene.publish("a")
        await scene.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holdfast reader'"
        )
        with pytest.raises(StoreUnavailable):
            await scene.read(cursor, reader)
        with pytest.raises(StoreUnavailable, match="ended"):
            await scene.read(cursor, reader)
        assert keys_of((await scene.read(cursor, await scene.reader())).rows) == ["a"]


class TestPositions:
    async def test_grow_along_what_each_transaction_could_see(self, scene):
        for number in range(20):
            await scene.publish(str(number))
        positions = [
            position for (position,) in await scene.sql("select position from event_log order by event_key::int")
        ]
        assert all(before < after for before, after in pairwise(positions))


async def test_a_laggard_takes_nobody_back_to_its_stored_snapshot(migrated_dsn):
    """The one with the new events would handle them again, and what had died of them."""
    runs: dict[str, Counter[int]] = {"laggard": Counter(), "current": Counter()}
    store = make_store(migrated_dsn, timeout=10)
    inspector, operator = make_inspector(store)
    bus = EventBus(migrated_dsn, spool="off", stop_timeout=2)

    def subscribe(name: str) -> None:
        @bus.subscribe("e", name=name, ordering="none", partitions=1)
        async def count(event: Event) -> None:
            runs[name][event.payload] += 1

    async def publish(numbers: range) -> None:
        await bus.publish_many([{"name": "e", "payload": number} for number in numbers])
        await bus.drain(timeout=20)

    for name in runs:
        subscribe(name)
    async with bus:
        await publish(range(10))
        await operator.pause("laggard", actor="ann")
        await publish(range(10, 20))
        with closing(connect(migrated_dsn)) as connection:
            store_snapshot(connection)
        await publish(range(20, 30 + PAGE_EVENTS))
        await operator.resume("laggard", actor="ann")
        await publish(range(-1, 0))
    await inspector.close()
    await store.close()
    assert [(len(counts), set(counts.values())) for counts in runs.values()] == 2 * [(31 + PAGE_EVENTS, {1})]
