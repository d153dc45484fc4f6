"""The SQL contract of the SQLite file: what any program with a plain SQLite client may rely on."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from holdfast.patterns import matches
from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.values import Advance, Attempt, Cursor, Declaration, Parked, Receipt, Revised, State
from tests.unit.sqlite_harness import event, leased, rows_of, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(str(tmp_path / "events.db"))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def sql(store: SQLiteStore, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program: no function, setting or import of ours."""
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as connection:
        yield connection


def insert(sql: sqlite3.Connection, **columns: object) -> None:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    sql.execute(f"insert into event_store ({names}) values ({marks})", list(columns.values()))


def status(sql: sqlite3.Connection) -> tuple[str, int, bool]:
    """Status, retries, and whether processed_at is set, of the only event."""
    ((status, retries, processed_at),) = sql.execute("select status, retries, processed_at from event_store").fetchall()
    return status, retries, processed_at is not None


class TestInserting:
    async def test_three_columns_are_enough(self, store, sql):
        sql.execute(
            """insert into event_store (tenant_id, event_name, payload) values ('acme', 'order.placed', '{}')"""
        )

        (row,) = await rows_of(store)
        assert (row.tenant_id, row.name, row.key, row.payload, row.headers) == (
            "acme",
            "order.placed",
            None,
            b"{}",
            None,
        )
        made = UUID(bytes=row.id)
        assert (made.version, made.variant) == (7, "specified in RFC 4122")

    async def test_ids_that_sql_makes_differ_and_begin_with_the_time(self, store, sql):
        for _ in range(200):
            insert(sql, event_name="a", payload="1")

        ids = [UUID(found) for (found,) in sql.execute("select id from event_log order by position")]
        assert len(set(ids)) == 200
        assert {one.version for one in ids} == {7}
        (now,) = sql.execute("select strftime('%s', 'now') * 1000").fetchone()
        assert all(0 <= now + 1000 - (one.int >> 80) < 60_000 for one in ids)

    async def test_everything_may_be_given(self, store, sql):
        insert(
            sql, id="0190F000-0000-7000-8000-0000000000AB", tenant_id="acme", event_name="a", event_key="k",
            payload="[1]", headers='{"h":"1"}', occurred_at="2030-01-31T12:00:00+02:00",
        )  # fmt: skip

        (row,) = await rows_of(store)
        assert UUID(bytes=row.id) == UUID("0190f000-0000-7000-8000-0000000000ab")
        assert (row.key, row.headers) == ("k", b'{"h":"1"}')
        assert sql.execute("select occurred_at from event_store").fetchone() == ("2030-01-31T10:00:00.000000Z",)

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"])
    async def test_the_first_and_the_last_year_are_kept_exactly(self, store, sql, moment):
        insert(sql, event_name="a", payload="1", occurred_at=moment)

        assert sql.execute("select occurred_at from event_store").fetchone() == (moment,)

    @pytest.mark.parametrize(
        "wrong",
        [
            *(
                {"event_name": name}
                for name in ("", ".a", "a.", "a..b", "a b", "a\0", "a'", "a%", "a\n", "é", "x" * 201)
            ),
            {"event_name": b"a"},
            {"event_name": None},
            *({"payload": payload} for payload in ("{", "", None, b"{}")),
            *({"tenant_id": tenant} for tenant in ("", "x" * 256, "a\0b")),
            *({"event_key": key} for key in ("", "x" * 256, "a\0b")),
            *({"id": wrong} for wrong in ("", "x" * 36, "0" * 36, "00000000-0000-0000-0000-000000000000")),
            *(
                {"occurred_at": moment}
                for moment in ("", "soon", "12", "2023-02-31T00:00:00.000000Z", "0000-01-01T00:00:00.000000Z")
            ),
            {"headers": "{"},
            {"status": "processed"},
            {"retries": 3},
        ],
        ids=str,
    )
    async def test_what_breaks_a_rule_is_refused(self, store, sql, wrong):
        with pytest.raises(sqlite3.IntegrityError):
            insert(sql, **({"event_name": "a", "payload": "1"} | wrong))

        assert await rows_of(store) == []

    @pytest.mark.parametrize("position", [-1, 0, 5, "9"])
    async def test_an_explicit_position_is_refused(self, store, sql, position):
        with pytest.raises(sqlite3.IntegrityError):
            sql.execute(
                "insert into event_log (position, id, occurred_at, tenant_id, event_name, payload) "
                "select ?, id, occurred_at, 'acme', 'a', '1' from event_defaults",
                [position],
            )


class TestStatus:
    async def test_an_event_that_nobody_subscribes_to_is_processed(self, store, sql):
        await store.append([event()], atomic=True)

        assert status(sql) == ("processed", 0, False)

    async def test_pending_then_processing_then_processed(self, store, sql):
        lease = await leased(store)
        await store.append([event()], atomic=True)
        (row,) = await rows_of(store)
        assert status(sql) == ("pending", 0, False)

        await settle(store, lease, advances=[Advance(lease.slice, Cursor("0", "1", 1))])
        assert status(sql) == ("processing", 0, False)

        await settle(store, lease, receipts=[Receipt(lease.slice, row.id, 0)])
        assert status(sql) == ("processed", 0, True)
        ((name, attempts),) = sql.execute("select consumer_name, attempts from event_consumers").fetchall()
        assert (name, attempts) == ("billing", 1)

    async def test_failed_then_running_then_dead_then_discarded(self, store, sql):
        lease = await leased(store)
        await store.append([event()], atomic=True)
        (row,) = await rows_of(store)
        failure = Attempt(lease.slice, row.id, 0, 1, "failed", "ValueError", "no", None, 0.1)
        put_off = failure._replace(outcome="put off")

        await settle(store, lease, parked=[Parked(lease.slice, row, State.RETRYING, 1)], attempts=[failure, put_off])
        assert status(sql) == ("failed", 1, False)

        ((due,), *_) = await store.claim({lease.slice: lease.epoch}, limit=10)
        assert status(sql) == ("processing", 1, False)

        await settle(
            store,
            lease,
            revised=[Revised(lease.slice, due.delivery, due.claim, State.DEAD, 2)],
            attempts=[failure._replace(attempt=2)],
        )
        assert status(sql) == ("dead", 2, False)

        sql.execute("update deliveries set state = 'discarded'")
        assert status(sql) == ("processed", 2, False)

    async def test_the_worst_subscription_counts(self, store, sql):
        lease, other = await leased(store), await leased(store, name="mail")
        await store.append([event()], atomic=True)
        (row,) = await rows_of(store)

        await settle(store, lease, receipts=[Receipt(lease.slice, row.id, 0)])
        assert status(sql) == ("pending", 0, False)
        await settle(store, other, parked=[Parked(other.slice, row, State.DEAD, 5)])
        assert status(sql) == ("dead", 0, False)

    async def test_events_before_the_subscription_are_not_its_own(self, store, sql):
        await store.append([event()], atomic=True)
        await store.register([Declaration("billing", ("**",), start="now")])

        assert status(sql) == ("processed", 0, False)

    async def test_a_pattern_added_later_does_not_reach_what_the_cursors_have_passed(self, store, sql):
        lease = await leased(store, patterns=("invoice.*",))
        await store.append([event()], atomic=True)
        await settle(store, lease, advances=[Advance(lease.slice, Cursor("1"))])

        await store.register([Declaration("billing", ("**",), partitions=1)])

        assert status(sql) == ("processed", 0, False)


async def test_patterns_mean_in_sql_what_they_mean_in_python(store, sql):
    chance = random.Random(7)
    names = {".".join(chance.choices(["a", "b", "ab", "-:/"], k=chance.randint(1, 5))) for _ in range(150)}
    patterns = {
        ".".join([*chance.choices(["a", "b", "ab", "*"], k=chance.randint(0, 4)), chance.choice(["**", "*", "a"])])
        for _ in range(150)
    }
    await store.append([event(name) for name in names], atomic=True)
    await store.register([Declaration(pattern, (pattern,), start="beginning") for pattern in patterns])

    found = sql.execute(
        "select e.event_name, s.name from interests as i join event_log as e on e.position = i.position "
        "join subscriptions as s on s.id = i.subscription"
    ).fetchall()

    assert set(found) == {(name, pattern) for name in names for pattern in patterns if matches(pattern, name)}
    assert len(found) == len(set(found))


async def test_one_of_several_patterns_is_enough_and_counts_once(store, sql):
    await store.append([event("order.placed")], atomic=True)
    await store.register([Declaration("billing", ("invoice.*", "order.*", "**"), start="beginning")])

    assert sql.execute("select count(*) from interests").fetchone() == (1,)
