"""``holdfast migrate --roles``: each role can do its work, and is refused what is not its work."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast import Event, EventBus, Quota, Reject
from holdfast.archive import Archive, read
from holdfast.counts import WorkerCounts
from holdfast.encryption import MasterKeys
from holdfast.errors import HoldfastError, PermissionDenied, QuotaExceeded
from holdfast.ids import new_id
from holdfast.ports import SYSTEM
from holdfast.sealing import Sealer, Verifier
from holdfast.stores import erasing, make_store
from holdfast.stores.filters import DeadFilter, EventFilter, ReplayFilter
from holdfast.stores.inspector import make_inspector
from holdfast.worker.letting_go import LettingGo
from tests.bus.waiting import until
from tests.contract.aging import A_DAY, aging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PARTS = ("publisher", "worker", "operator", "eraser", "viewer")


def migrate(dsn: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast", "migrate", "--dsn", dsn, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.fixture
def as_part(migrated_dsn: str) -> Iterator[Callable[[str], str]]:
    """``as_part("worker")``: a DSN that logs in as a user who is granted that role alone."""
    assert "holdfast_viewer" in migrate(migrated_dsn, "--roles").stdout
    user = f"user_{uuid4().hex[:8]}"
    with psycopg.connect(migrated_dsn, autocommit=True) as admin:
        for part in PARTS:
            admin.execute(f"create role {user}_{part} login password 'secret' in role holdfast_{part}")

        def dsn(part: str) -> str:
            place = urlsplit(migrated_dsn)
            host = place.netloc.rpartition("@")[2]
            return urlunsplit(place._replace(netloc=f"{user}_{part}:secret@{host}"))

        yield dsn
        for part in PARTS:
            admin.execute(f"drop role {user}_{part}")


def refused(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=holdfast") as connection:
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


async def test_a_publisher_publishes_and_sees_nothing_of_what_becomes_of_it(
    as_part: Callable[[str], str], migrated_dsn: str
) -> None:
    bus = EventBus(as_part("publisher"), spool="off", quota=Quota(5, timedelta(hours=1)))
    event_id = uuid4()
    await bus.publish("a", 1, event_id=event_id)
    assert (await bus.publish("a", 1, event_id=event_id)).deduplicated
    await bus.publish_many([{"name": "a", "payload": 2}, {"name": "a", "payload": 3}])
    with psycopg.connect(as_part("publisher")) as connection:
        await bus.publish("a", 4, tx=connection)
        connection.execute("insert into holdfast.event_store (event_name, payload) values ('a', '5')")
    with pytest.raises(QuotaExceeded):
        await bus.publish_many([{"name": "a", "payload": 6}])
    await bus.close()
    with psycopg.connect(migrated_dsn) as admin:
        assert admin.execute("select count(*) from holdfast.event_log").fetchone() == (5,)
    refused(
        as_part("publisher"), "select status from event_store", "select * from deliveries", "select headers from event_log",
        "delete from event_log", "update event_log set tenant_id = 'x'", "insert into event_log (position) values (1)",
        "insert into event_log (txid, event_name, payload) values ('3', 'a', '1')", "insert into subscriptions default values",
        "select make_day(current_date)", "select drop_day('20200101')", "select after_restore()",
        "update leases set owner = null", "select * from audit",
    )  # fmt: skip


async def test_a_worker_works_and_keeps_house(as_part: Callable[[str], str], migrated_dsn: str) -> None:
    with psycopg.connect(migrated_dsn) as admin:
        admin.execute("drop table holdfast.event_log_" + _tomorrow(admin))
        admin.execute("drop table holdfast.receipts_" + _tomorrow(admin))
    bus, seen = EventBus(as_part("worker"), spool="off", stop_timeout=1), list[Any]()

    @bus.subscribe("a", name="plain")
    async def plain(event: Event) -> None:
        if event.payload == "bad":
            raise Reject("bad")
        seen.append(event.payload)

    @bus.subscribe("a", name="transactional", transactional=True)
    async def transactional(event: Event) -> None:
        await bus.publish("b", event.payload)

    await bus.publish_many([{"name": "a", "payload": one, "key": "k"} for one in (1, "bad", 2)])
    await bus.drain(15)
    await bus.close()
    assert seen == [1, 2]
    store = make_store(as_part("worker"), timeout=10)
    await store.maintain(retention=86400.0)
    await store.add_samples(uuid4(), [])
    await store.close()
    with psycopg.connect(migrated_dsn) as admin:
        assert admin.execute("select to_regclass('holdfast.event_log_" + _tomorrow(admin) + "')::text").fetchone() != (
            None,
        )
    refused(
        as_part("worker"), "delete from event_log", "update event_log set tenant_id = 'x'", "delete from receipts",
        "select * from audit", "insert into audit (actor, action, target) values ('a', 'b', 'c')", "drop table event_log",
        "select after_restore()", "delete from subscriptions",
    )  # fmt: skip


def _tomorrow(admin: psycopg.Connection[Any]) -> str:
    row = admin.execute("select to_char((clock_timestamp() at time zone 'UTC')::date + 1, 'YYYYMMDD')").fetchone()
    assert row is not None
    return str(row[0])


async def test_a_worker_lets_go_and_an_operator_puts_back(
    as_part: Callable[[str], str], migrated_dsn: str, tmp_path: Path
) -> None:
    bus = EventBus(migrated_dsn, spool="off", archive=tmp_path)
    bus.subscribe("a", print, name="laggard", behind_retention="archive")
    await bus.publish_many([{"name": "a", "payload": n} for n in range(3)])
    await bus.close()
    with psycopg.connect(migrated_dsn, options="-c search_path=holdfast") as admin:
        for statement in aging(is_sqlite=False):
            admin.execute(statement.encode())
    store, threads = make_store(as_part("worker"), timeout=10), SYSTEM.threads("archive", 1)
    await store.open()
    letting_go = LettingGo(store, Archive(tmp_path), WorkerCounts(), threads, new_id)
    assert await letting_go.look(A_DAY)
    assert await store.maintain(retention=A_DAY, archive=Archive(tmp_path)) == (3, ())
    await store.close()
    (dropped,) = (tmp_path / "@dropped").iterdir()
    assert len(list(read(dropped))) == 3
    (file,) = (tmp_path / "laggard").iterdir()
    store = make_store(as_part("operator"), timeout=10)
    inspector, operator = make_inspector(store)
    assert await operator.put_back("laggard", read(file), actor="ann") == 3
    await inspector.close()
    await store.close()
    with psycopg.connect(migrated_dsn) as admin:
        assert admin.execute("select actor, action, count from holdfast.audit order by id").fetchall() == [
            ("retention", "let go", 3), ("ann", "put back", 3)
        ]  # fmt: skip
    for part in ("publisher", "operator", "eraser", "viewer"):
        refused(as_part(part), "select record_let_go('laggard', '{}', 1)", "update let_go set events = 0")


async def test_an_operator_seals_and_can_change_no_link_and_a_viewer_verifies(
    as_part: Callable[[str], str], migrated_dsn: str
) -> None:
    bus = EventBus(migrated_dsn, spool="off")
    await bus.publish_many([{"name": "a", "payload": n} for n in range(3)])
    await bus.close()
    store = make_store(as_part("operator"), timeout=10)
    inspector, operator = make_inspector(store)
    await store.open()
    assert await Sealer(inspector, operator, actor="ann").seal() == (3, 1)
    await inspector.close()
    await store.close()
    store = make_store(as_part("viewer"), timeout=10)
    inspector, operator = make_inspector(store)
    verifier = Verifier(inspector)
    assert [finding async for finding in verifier.findings()] == []
    assert verifier.summary.sealed == 3
    await inspector.close()
    await store.close()
    forged = "insert into seal_segments select day, number + 1, events, first, last, sealed_at, digest, head from seal_segments"
    refused(as_part("viewer"), forged, "update sealing set step = 0", "update seal_days set events = 0")
    refused(as_part("worker"), forged, "update sealing set step = 0", "update seal_segments set entries = null")
    refused(
        as_part("operator"), "update seal_segments set head = digest", "update seal_segments set number = 7",
        "delete from seal_segments", "delete from seal_days", "delete from sealing", "update seal_days set dropped_at = now()",
    )  # fmt: skip


async def test_an_operator_operates_and_cannot_touch_an_event(as_part: Callable[[str], str], migrated_dsn: str) -> None:
    bus = EventBus(migrated_dsn, spool="off", stop_timeout=1)

    @bus.subscribe("a", name="s", partitions=2)
    async def handle(event: Event) -> None:
        raise Reject("as ever")

    await bus.publish_many([{"name": "a", "payload": n} for n in range(3)])
    await bus.drain(15)
    await bus.close()
    store = make_store(as_part("operator"), timeout=10)
    inspector, operator = make_inspector(store)
    try:
        assert await operator.pause("s", actor="ann")
        assert await operator.resume("s", actor="ann")
        assert await operator.retry_dead(DeadFilter(), actor="ann") == 3
        assert await operator.discard(DeadFilter(), held=True, actor="ann") == 3
        assert await operator.replay("s", ReplayFilter(), actor="ann", rate=10_000) == 3
        await operator.repartition("s", 4, actor="ann")
        await operator.rename("s", "t", actor="ann")
        assert (await operator.retention_run(86400.0, actor="ann")).droppable == 0
        assert (await operator.skip("t", actor="ann")).events == 3
        with pytest.raises(PermissionDenied):
            await operator.add_index("tenant", actor="ann")
        assert not (await inspector.audit(limit=1))[0].allowed
        assert await operator.remove("t", actor="ann") == 3
        assert len(await inspector.audit()) == 12
    finally:
        await inspector.close()
        await store.close()
    refused(
        as_part("operator"), "delete from event_log", "update event_log set payload = '1'", "delete from audit",
        "update audit set actor = 'bob'", "update audit set allowed = true",
        "insert into event_store (event_name, payload) values ('a', '1')", "insert into receipts default values",
        "select after_restore()",
    )  # fmt: skip


async def test_an_operator_who_may_publish_too_corrects(as_part: Callable[[str], str], migrated_dsn: str) -> None:
    bus = EventBus(migrated_dsn, spool="off", stop_timeout=1)

    @bus.subscribe("a", name="s", partitions=2)
    async def handle(event: Event) -> None:
        raise Reject("as ever")

    published = await bus.publish("a", 1)
    await bus.drain(15)
    await bus.close()
    dsn = as_part("operator")
    store = make_store(dsn, timeout=10)
    inspector, operator = make_inspector(store)

    async def correct() -> UUID:
        return await operator.correct("s", published.event_id, 2, actor="ann", may_edit=True)

    try:
        with pytest.raises(PermissionDenied):
            await correct()
        assert await operator.matching(DeadFilter()) == 1
        with psycopg.connect(migrated_dsn, autocommit=True) as admin:
            admin.execute(f"grant holdfast_publisher to {urlsplit(dsn).username}")
        assert (await inspector.event(await correct())).payload == 2
        assert [row.allowed for row in await inspector.audit()] == [True, False]
    finally:
        await inspector.close()
        await store.close()


async def test_an_eraser_erases_and_changes_nothing_else(as_part: Callable[[str], str], migrated_dsn: str) -> None:
    bus = EventBus(migrated_dsn, spool="off", stop_timeout=1)

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        raise Reject(str(event.payload))

    published = await bus.publish("a", "ann@example.org", key="ann")
    await bus.drain(15)
    await bus.close()
    for part, may in (("operator", False), ("eraser", True)):
        store = make_store(as_part(part), timeout=10)
        inspector, operator = make_inspector(store)
        try:
            assert (await operator.erase_count(key="ann")).events == 2
            if may:
                outcome = await operator.erase(key="ann", actor="bob")
                assert (outcome.events, outcome.deliveries, outcome.attempts) == (2, 1, 1), (
                    "it and the news of its death"
                )
            else:
                with pytest.raises(PermissionDenied):
                    await operator.erase(key="ann", actor="bob")
            assert [row.allowed for row in await inspector.audit()][:1] == [may]
            found = await inspector.event(published.event_id)
            assert ("ann@example.org" in str(found)) is not may
        finally:
            await inspector.close()
            await store.close()
    refused(
        as_part("eraser"), "delete from event_log", "update event_log set tenant_id = 'x'", "delete from deliveries",
        "update event_log set position = 1", "update event_log set txid = '3'", "update attempts set outcome = 'x'",
        "insert into event_store (event_name, payload) values ('a', '1')", "update deliveries set state = 'pending'",
        "delete from audit", "update audit set actor = 'x'", "update subscriptions set paused_at = now()",
        "select make_day(current_date)", "select drop_day('20200101')", "select after_restore()",
    )  # fmt: skip


async def test_a_viewer_looks(as_part: Callable[[str], str], migrated_dsn: str) -> None:
    bus = EventBus(migrated_dsn, spool="off")
    bus.subscribe("a", print, name="s")
    published = await bus.publish("a", 1)
    await bus.close()
    store = make_store(as_part("viewer"), timeout=10)
    inspector, _ = make_inspector(store)
    try:
        status = await inspector.status()
        assert [one.lag for one in status.subscriptions] == [1]
        assert len((await inspector.events(EventFilter())).events) == 1
        assert (await inspector.event(published.event_id)).payload == 1
        assert await inspector.dead(DeadFilter()) == []
        assert await inspector.audit() == []
        assert await inspector.workers() == []
        assert len((await inspector.causation(published.event_id)).nodes) == 1
        assert {one.state for one in await inspector.search_indexes()} == {"missing"}
        assert (await inspector.storage()).bytes > 0
        assert (await inspector.dead_groups(DeadFilter())).groups == ()
        await inspector.estimate(EventFilter(tenant_id="default"))
    finally:
        await inspector.close()
        await store.close()
    refused(
        as_part("viewer"), "insert into event_store (event_name, payload) values ('a', '1')", "delete from event_log",
        "update subscriptions set paused_at = now()", "delete from deliveries", "select make_day(current_date)",
        "select drop_day('20200101')", "select after_restore()", "insert into audit (actor, action, target) values ('a', 'b', 'c')",
    )  # fmt: skip


def test_nobody_else_has_a_right_left(as_part: Callable[[str], str], migrated_dsn: str) -> None:
    with psycopg.connect(migrated_dsn, autocommit=True) as admin:
        name = f"stranger_{uuid4().hex[:8]}"
        admin.execute(f"create role {name}")
        try:
            ((usage,),) = admin.execute(f"select has_schema_privilege('{name}', 'holdfast', 'usage')").fetchall()
            assert not usage
            functions = f"""
                select proname from pg_proc where pronamespace = 'holdfast'::regnamespace
                    and has_function_privilege('{name}', oid, 'execute')
            """
            assert admin.execute(functions).fetchall() == []
            for one, other in [(one, other) for one in PARTS for other in PARTS if one != other]:
                member = f"select pg_has_role('holdfast_{one}', 'holdfast_{other}', 'member')"
                assert admin.execute(member).fetchone() == (False,), "siblings"
        finally:
            admin.execute(f"drop role {name}")


def test_again_is_no_error_and_with_sql_it_is_printed(migrated_dsn: str) -> None:
    migrate(migrated_dsn, "--roles")
    migrate(migrated_dsn, "--roles")
    printed = migrate(migrated_dsn, "--roles", "--sql").stdout
    assert "create role" in printed
    assert ':"schema"' not in printed
    with psycopg.connect(migrated_dsn, autocommit=True) as admin:
        admin.execute(printed.encode())


async def test_a_right_that_goes_missing_for_a_while_costs_no_second_run_and_no_event(
    as_part: Callable[[str], str], migrated_dsn: str
) -> None:
    """What ran waits to be written, and is not run again for that."""
    bus, runs = EventBus(as_part("worker"), spool="off", stop_timeout=1), list[Any]()

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        runs.append(event.payload)

    with psycopg.connect(migrated_dsn, autocommit=True) as admin:
        async with bus:
            await bus.publish("a", 0)
            await bus.drain(10)
            admin.execute("revoke insert on holdfast.receipts from holdfast_worker")
            await bus.publish_many([{"name": "a", "payload": n} for n in (1, 2)])
            live = bus._live
            assert live is not None
            assert live.worker is not None
            settler = live.worker._settler
            await until(lambda: not settler.available)
            admin.execute("grant insert on holdfast.receipts to holdfast_worker")
            await bus.drain(20)
        assert admin.execute("select count(*) from holdfast.event_consumers").fetchone() == (3,)
    assert sorted(runs) == [0, 1, 2]


async def test_a_right_that_is_missing_while_the_spool_drains_sets_nothing_aside(
    as_part: Callable[[str], str], migrated_dsn: str, tmp_path: Path
) -> None:
    with psycopg.connect(migrated_dsn, autocommit=True) as admin:
        first = EventBus(as_part("publisher"), spool=tmp_path, store_timeout=0.5)
        await first.publish("a", 0)
        admin.execute(f"alter database {admin.info.dbname} set default_transaction_read_only = on")
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'holdfast'")
        for n in (1, 2, 3):
            assert (await first.publish("a", n)).where == "spool"
        await first.close()
        admin.execute(f"alter database {admin.info.dbname} reset default_transaction_read_only")
        admin.execute("revoke insert on holdfast.event_log from holdfast_publisher cascade")
        revoke = "revoke insert (id, day, occurred_at, tenant_id, event_name, event_key, payload, headers)"
        admin.execute(f"{revoke} on holdfast.event_log from holdfast_publisher")
        second = EventBus(as_part("publisher"), spool=tmp_path, store_timeout=0.5)
        with pytest.raises(HoldfastError):
            await second.drain(2)
        admin.execute(revoke.replace("revoke", "grant") + " on holdfast.event_log to holdfast_publisher")
        live = second._live
        assert live is not None
        await asyncio.wait_for(live.publisher.wait_drained(), 20)
        await second.close()
        stored = admin.execute("select payload::text from holdfast.event_log order by position").fetchall()
    assert stored == [("0",), ("1",), ("2",), ("3",)]
    assert not list(tmp_path.rglob("quarantine.jsonl"))


@pytest.mark.parametrize("part", PARTS)
def test_who_does_not_own_the_tables_may_still_find_them_up_to_date(as_part: Callable[[str], str], part: str) -> None:
    assert "the tables are up to date" in migrate(as_part(part)).stdout


TOLD = "create table {0}told (who text); grant insert on {0}told to public"


def test_what_runs_with_the_owners_rights_sees_no_temporary_table_of_its_caller(
    as_part: Callable[[str], str], migrated_dsn: str
) -> None:
    """One that is named like a table of ours would run the caller's code as the owner, and drop events unhandled."""
    with psycopg.connect(as_part("worker"), autocommit=True) as worker:
        worker.execute(TOLD.format("pg_temp."))
        worker.execute(
            "create function pg_temp.tell() returns integer language sql as "
            "$$ insert into pg_temp.told values (current_user) returning 1 $$"
        )
        worker.execute("create temp view subscriptions as select pg_temp.tell() as id, 'x'::text as name")
        worker.execute("grant all on pg_temp.subscriptions to public")
        assert worker.execute("select blocking from holdfast.drop_day('20200101')").fetchone() == ([],)
        assert worker.execute("select who from pg_temp.told").fetchall() == []
    assert [name for name, *_ in _functions(migrated_dsn, "prosecdef")] == [
        "day_kept_by", "drop_day", "make_day", "record_let_go", "session_tenants", "tenant_publish", "tenant_status",
    ]  # fmt: skip
    paths = _functions(migrated_dsn, "language = 'plpgsql'")
    assert len(paths) == 12
    assert [name for name, _, config in paths if not config.endswith(", pg_temp")] == []


def test_no_view_and_no_publish_runs_a_function_that_a_stranger_planted(
    as_part: Callable[[str], str], migrated_dsn: str
) -> None:
    """The better match in the caller's search path would win over PostgreSQL's own."""
    with psycopg.connect(migrated_dsn, autocommit=True) as admin:
        admin.execute("create schema shared")
        admin.execute(TOLD.format("shared."))
        tell = "as $$ insert into shared.told values (current_user)"
        for function in (
            f"hashtextextended(text, integer) returns bigint language sql {tell} returning 0::bigint $$",
            f"unnest(text[]) returns setof text language sql {tell} returning 'x' $$",
            f"add(text[], text) returns text[] language sql {tell} returning '{{x}}'::text[] $$",
            f"length(text) returns integer language sql {tell} returning 1 $$",
            f"pg_visible_in_snapshot(xid8, pg_snapshot) returns boolean language sql {tell} returning true $$",
            f"max_of(timestamptz, timestamptz) returns timestamptz language sql {tell} returning now() $$",
        ):
            admin.execute(f"create function shared.{function}")
        admin.execute("create aggregate shared.array_agg(text) (sfunc = shared.add, stype = text[])")
        admin.execute("create aggregate shared.max(timestamptz) (sfunc = shared.max_of, stype = timestamptz)")
        admin.execute("grant usage on schema shared to public")
        _subscription_with_a_dead_letter(admin)
    for part, statement in (
        ("publisher", "insert into holdfast.event_store (event_name, payload) values ('a', '1')"),
        ("viewer", "select status, retries, processed_at from holdfast.event_store"),
        ("viewer", "select * from holdfast.event_consumers"),
    ):
        # As open as a path can be: ours comes before PostgreSQL's own.
        path = "-c search_path=shared,pg_catalog"
        with psycopg.connect(as_part(part), autocommit=True, options=path) as connection:
            connection.execute(statement)
    with psycopg.connect(migrated_dsn) as admin:
        assert admin.execute("select who from shared.told").fetchall() == []
    for name, is_bound, config in _functions(migrated_dsn, "language = 'sql'"):
        assert is_bound or config.endswith(", pg_temp"), name


def _subscription_with_a_dead_letter(admin: psycopg.Connection[Any]) -> None:
    admin.execute("set search_path = holdfast")
    admin.execute(
        "insert into subscriptions (name, patterns, regexes, partitions, ordering, on_dead, replayable, start_snapshot, "
        "start_position) values ('s', '{**}', '{^a$}', 1, 'key', 'continue', true, pg_current_snapshot(), 0)"
    )
    admin.execute("insert into leases (subscription, partition) select id, 0 from subscriptions")
    admin.execute("insert into cursors (subscription, partition, done) select id, 0, start_snapshot from subscriptions")
    admin.execute("insert into event_store (event_name, payload) values ('a', '1'), ('a', '2')")
    admin.execute(
        "insert into deliveries (subscription, partition, event_id, day, position, tenant_id, event_name, state) "
        "select s.id, 0, e.id, e.day, e.position, e.tenant_id, e.event_name, 'dead' from subscriptions as s, event_log as e "
        "where e.payload::text = '1'"
    )


def _functions(dsn: str, which: str) -> list[tuple[str, bool, str]]:
    """Name, whether its body was bound when it was made, and its settings, of the functions of the schema."""
    with psycopg.connect(dsn) as admin:
        return admin.execute(
            "select proname, prosqlbody is not null, coalesce(array_to_string(proconfig, ';'), '') from pg_proc "
            "join pg_language as l on l.oid = prolang cross join lateral (select l.lanname as language) as named "
            f"where pronamespace = 'holdfast'::regnamespace and {which} order by 1"
        ).fetchall()


async def test_each_role_does_its_part_with_encrypted_payloads(
    as_part: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "KEY_SECONDS", 0.0)
    monkeypatch.setattr(erasing, "_KEY_MARGIN_SECONDS", 0.0)
    both = MasterKeys({"new": b"n" * 32, "old": b"o" * 32})
    publisher = EventBus(as_part("publisher"), spool="off", encryption=MasterKeys({"old": b"o" * 32}))
    worker, seen = EventBus(as_part("worker"), spool="off", stop_timeout=1, encryption=both), list[Any]()

    @worker.subscribe("a", name="all")
    async def handle(event: Event) -> None:
        seen.append(event.payload)
        await worker.publish("b", event.payload, key="new")

    await worker.publish("warm.up")
    await publisher.publish("a", "secret", key="ann")
    await worker.drain(20)
    await publisher.close()
    await worker.close()
    assert seen == ["secret"]
    for part in ("viewer", "operator", "eraser"):
        store = make_store(as_part(part), timeout=10)
        inspector, operator = make_inspector(store)
        if part == "viewer":
            with pytest.raises(PermissionDenied):
                await operator.rotate_keys(both, actor="me")
            with pytest.raises(PermissionDenied):
                await operator.erase(key="ann", actor="me")
        elif part == "operator":
            assert (await operator.rotate_keys(both, actor="me")).wrapped == 1
        else:
            assert (await operator.erase(key="ann", actor="me")).keys == 1
        assert sum(one.kept + one.erased for one in await inspector.keys()) == 3
        await inspector.close()
        await store.close()
    refused(
        as_part("publisher"), "update subject_keys set master = 'x'", "delete from subject_keys",
        "insert into tenant_grants values ('a', 'b')",
    )  # fmt: skip
    refused(as_part("worker"), "update subject_keys set wrapped = 'x'", "delete from subject_keys")
    refused(as_part("operator"), "update subject_keys set tenant_id = 'x'", "delete from subject_keys")
    refused(as_part("eraser"), "update subject_keys set master = 'x'", "delete from subject_keys")
