"""Logins that are bound to tenants: everything that such a session tries, inside and around what it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, UniqueViolation

from holdfast import Event, EventBus, RetryPolicy
from holdfast.errors import HoldfastError, WrongStore
from holdfast.stores import make_store

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "only for other"


class Logins(NamedTuple):
    """Bound to acme; to acme and more; to nothing, but with the role."""

    acme: str
    two: str
    nobody: str


def holdfast(dsn: str, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "holdfast", *arguments, "--dsn", dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def as_login(dsn: str, name: str) -> str:
    place = urlsplit(dsn)
    return urlunsplit(place._replace(netloc=f"{name}:secret@{place.netloc.rpartition('@')[2]}"))


@pytest.fixture
def admin(migrated_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(migrated_dsn, autocommit=True)) as connection:
        yield connection


@pytest.fixture
def logins(migrated_dsn: str, admin: psycopg.Connection[Any]) -> Iterator[Logins]:
    """Three logins on a store with two events of each of the tenants acme, more and other."""
    admin.execute(make_store(migrated_dsn).roles_script())  # type: ignore[attr-defined]
    user = f"user_{uuid4().hex[:8]}"
    names = [f"{user}_{part}" for part in ("acme", "two", "nobody")]
    for name in names:
        admin.execute(f"create role {name} login password 'secret'")
    for name, tenant in ((names[0], "acme"), (names[1], "acme"), (names[1], "more")):
        admin.execute("select holdfast.bind_tenant(%s, %s)", [name, tenant])
    admin.execute(f"grant holdfast_tenant to {names[2]}")
    for tenant in ("acme", "more", "other"):
        payload = json.dumps({"said": SECRET if tenant == "other" else f"of {tenant}", "number": "12x"})
        for name in ("a", "b"):
            admin.execute(
                "insert into holdfast.event_store (tenant_id, event_name, event_key, payload) values (%s, %s, 'k', %s)",
                [tenant, name, payload],
            )
    yield Logins(*(as_login(migrated_dsn, name) for name in names))
    admin.execute("drop owned by " + ", ".join(names))
    for name in names:
        admin.execute(f"drop role {name}")


@pytest.fixture
def acme(logins: Logins) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(logins.acme, autocommit=True)) as connection:
        yield connection


def tenants(connection: psycopg.Connection[Any], view: str = "tenant_events") -> list[str]:
    return [tenant for (tenant,) in connection.execute(f"select tenant_id from holdfast.{view} order by tenant_id")]


def id_of(admin: psycopg.Connection[Any], tenant: str) -> UUID:
    row = admin.execute(
        "select id from holdfast.event_log where tenant_id = %s order by position limit 1", [tenant]
    ).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


class TestWhatItSees:
    def test_its_own_tenants_alone(self, logins: Logins) -> None:
        seen = {}
        for name, dsn in logins._asdict().items():
            with closing(psycopg.connect(dsn)) as connection:
                seen[name] = tenants(connection)
        assert seen == {"acme": ["acme"] * 2, "two": ["acme"] * 2 + ["more"] * 2, "nobody": []}

    async def test_receipts_deliveries_and_status_of_its_own_events(
        self, logins: Logins, migrated_dsn: str, acme: psycopg.Connection[Any], admin: psycopg.Connection[Any]
    ) -> None:
        bus = EventBus(migrated_dsn, spool="off", stop_timeout=1)

        @bus.subscribe("a", name="billing", start="beginning", retry=RetryPolicy(max_attempts=1))
        async def bill(event: Event) -> None:
            if event.tenant_id == "other":
                raise ValueError(SECRET)

        @bus.subscribe("b", name="failing", start="beginning", retry=RetryPolicy(max_attempts=1))
        async def fail(event: Event) -> None:
            raise ValueError(event.payload["said"])

        await bus.drain(20)
        await bus.close()
        assert acme.execute("select tenant_id, consumer_name from holdfast.tenant_consumers").fetchall() == [
            ("acme", "billing")
        ]
        found = acme.execute(
            "select tenant_id, consumer_name, state, attempts from holdfast.tenant_deliveries"
        ).fetchall()
        assert found == [("acme", "failing", "dead", 1)]
        own, others = id_of(admin, "acme"), id_of(admin, "other")
        asked = "select holdfast.tenant_status(%s)"
        assert [acme.execute(asked, [one]).fetchone() for one in (own, others)] == [("processed",), (None,)]

    def test_a_grant_that_is_taken_away_counts_from_the_next_statement_on(
        self, acme: psycopg.Connection[Any], migrated_dsn: str
    ) -> None:
        assert tenants(acme) == ["acme"] * 2
        user = acme.info.user
        holdfast(migrated_dsn, "roles", "tenant", "remove", user, "acme", "--yes")
        with pytest.raises(InsufficientPrivilege):
            tenants(acme)

    def test_no_table_and_no_view_of_all(self, acme: psycopg.Connection[Any], admin: psycopg.Connection[Any]) -> None:
        relations = admin.execute(
            "select oid::regclass::text from pg_class where relnamespace = 'holdfast'::regnamespace"
            " and relkind in ('r', 'p', 'v') and relname !~ '^tenant_(events|consumers|deliveries)$'"
        ).fetchall()
        assert len(relations) > 20
        for (relation,) in relations:
            for statement in (
                f"select from {relation}", f"select count(*) from {relation}", f"insert into {relation} default values",
                f"delete from {relation}", f"truncate {relation}", f"copy {relation} to stdout",
                f"create temp table mine as table {relation}", f"do $$ begin lock table {relation}; end $$",
            ):  # fmt: skip
                with pytest.raises(psycopg.Error) as caught:
                    acme.execute(statement)
                assert caught.value.sqlstate in {"42501", "42809", "55000"}, (
                    statement
                )  # no right; no command for a view

    def test_every_function_but_its_own_is_closed(self, acme: psycopg.Connection[Any]) -> None:
        found = acme.execute(
            "select proname from pg_proc where pronamespace = 'holdfast'::regnamespace"
            " and has_function_privilege(oid, 'execute')"
        ).fetchall()
        assert sorted(name for (name,) in found) == ["session_tenants", "tenant_publish", "tenant_status"]


class TestWhatItPublishes:
    def test_for_its_tenant(self, acme: psycopg.Connection[Any], admin: psycopg.Connection[Any]) -> None:
        (event_id,) = acme.execute("select holdfast.tenant_publish('c', '[1]', event_key => 'k')").fetchone() or (None,)
        row = admin.execute(
            "select tenant_id, event_name, event_key, payload from holdfast.event_log where id = %s", [event_id]
        ).fetchone()
        assert row == ("acme", "c", "k", [1])

    def test_the_same_again_is_the_same_event_and_other_content_is_refused(self, acme: psycopg.Connection[Any]) -> None:
        for event_id in (uuid4(), UUID("01a2093d-4f8d-7561-b503-8a7c48b6e058")):
            again = "select holdfast.tenant_publish('c', %s, id => %s)"
            assert acme.execute(again, ["[1]", event_id]).fetchone() == (event_id,)
            assert acme.execute(again, ["[1]", event_id]).fetchone() == (event_id,)
            with pytest.raises(UniqueViolation):
                acme.execute(again, ["[2]", event_id])
            found = acme.execute("select count(*) from holdfast.tenant_events where id = %s", [event_id]).fetchone()
            assert found == (1,)

    def test_for_no_other(self, logins: Logins, acme: psycopg.Connection[Any]) -> None:
        for tenant in ("other", "more", "nobody has heard of it", ""):
            with pytest.raises(InsufficientPrivilege):
                acme.execute("select holdfast.tenant_publish('c', '1', tenant_id => %s)", [tenant])
        with closing(psycopg.connect(logins.two, autocommit=True)) as two:
            with pytest.raises(InsufficientPrivilege, match="no tenant"):
                two.execute("select holdfast.tenant_publish('c', '1')")
            two.execute("select holdfast.tenant_publish('c', '1', tenant_id => 'more')")
            assert tenants(two).count("more") == 3
        with closing(psycopg.connect(logins.nobody, autocommit=True)) as nobody, pytest.raises(InsufficientPrivilege):
            nobody.execute("select holdfast.tenant_publish('c', '1')")

    def test_under_an_id_of_another_tenant_it_learns_no_more_than_of_its_own(
        self, acme: psycopg.Connection[Any], admin: psycopg.Connection[Any]
    ) -> None:
        messages = set()
        for tenant in ("acme", "other"):
            event_id = id_of(admin, tenant)
            with pytest.raises(UniqueViolation) as caught:
                acme.execute("select holdfast.tenant_publish('c', '1', id => %s)", [event_id])
            messages.add((str(caught.value).replace(str(event_id), "ID"), caught.value.diag.message_detail))
        assert len(messages) == 1
        other = admin.execute(
            "select event_name, payload::text from holdfast.event_log where id = %s", [id_of(admin, "other")]
        )
        name, payload = other.fetchone() or (None, None)
        with pytest.raises(UniqueViolation):  # the very same content is no way to find it out either
            acme.execute(
                "select holdfast.tenant_publish(%s, %s, event_key => 'k', id => %s)",
                [name, payload, id_of(admin, "other")],
            )

    def test_what_breaks_the_rules_of_the_table_is_refused(self, acme: psycopg.Connection[Any]) -> None:
        for name, payload in (("a..b", "1"), ("", "1"), ("a", "{"), ("a" * 201, "1")):
            with pytest.raises(psycopg.errors.DataError if payload == "{" else psycopg.errors.CheckViolation):
                acme.execute("select holdfast.tenant_publish(%s, %s)", [name, payload])

    def test_nothing_is_changed_or_deleted_through_a_view(self, acme: psycopg.Connection[Any]) -> None:
        for statement in (
            "update holdfast.tenant_events set payload = '1'", "delete from holdfast.tenant_events",
            "insert into holdfast.tenant_events (tenant_id, event_name, payload) values ('acme', 'a', '1')",
            "insert into holdfast.tenant_events (tenant_id, event_name, payload) values ('other', 'a', '1')",
            "update holdfast.tenant_deliveries set state = 'pending'", "delete from holdfast.tenant_consumers",
        ):  # fmt: skip
            with pytest.raises(psycopg.Error) as caught:
                acme.execute(statement)
            assert caught.value.sqlstate in {"42501", "55000"}, statement  # no right; a view of several tables

    async def test_what_it_published_is_handled_as_any_other(
        self, acme: psycopg.Connection[Any], migrated_dsn: str
    ) -> None:
        bus, seen = EventBus(migrated_dsn, spool="off", stop_timeout=1), list[Any]()

        @bus.subscribe("c", name="c")
        async def handle(event: Event) -> None:
            seen.append((event.tenant_id, event.key, event.payload, event.header("x")))

        await bus.publish("warm.up")
        acme.execute("""select holdfast.tenant_publish('c', '{"n": 1}', 'k', headers => '{"x": "y"}')""")
        await bus.drain(15)
        await bus.close()
        assert seen == [("acme", "k", {"n": 1}, "y")]


class TestSideDoors:
    def test_a_leaky_function_is_shown_its_own_rows_alone(self, acme: psycopg.Connection[Any]) -> None:
        notices: list[str] = []
        acme.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        acme.execute(
            "create function pg_temp.leak(value text) returns boolean language plpgsql cost 0.0000000001 as"
            " $$ begin raise notice '%', value; return true; end $$"
        )
        for view, column in (("events", "payload"), ("consumers", "tenant_id"), ("deliveries", "tenant_id")):
            acme.execute(f"select count(*) from holdfast.tenant_{view} where pg_temp.leak({column}::text)")
            acme.execute(
                f"select count(*) from holdfast.tenant_{view} where tenant_id = 'other' and pg_temp.leak({column}::text)"
            )
        assert len(notices) == 2
        assert all("of acme" in one for one in notices)

    def test_an_error_of_a_condition_tells_of_its_own_rows_alone(self, acme: psycopg.Connection[Any]) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero):
            acme.execute(
                "select from holdfast.tenant_events where 1 / (case tenant_id when 'acme' then 0 else 1 end) = 1"
            )
        acme.execute("select from holdfast.tenant_events where 1 / (case tenant_id when 'other' then 0 else 1 end) = 1")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as caught:
            acme.execute("select from holdfast.tenant_events where (payload ->> 'said')::integer = 1")
        assert "of acme" in str(caught.value)

    def test_set_role_and_session_authorization_change_nothing(self, logins: Logins, migrated_dsn: str) -> None:
        with closing(psycopg.connect(logins.acme, autocommit=True)) as acme:
            for role in ("holdfast_tenant", acme.info.user):
                acme.execute(f"set role {role}")
                assert tenants(acme) == ["acme"] * 2
            for role in (urlsplit(logins.two).username, "holdfast_viewer", "holdfast_worker", "holdfast_eraser"):
                with pytest.raises(InsufficientPrivilege):
                    acme.execute(f"set role {role}")
                with pytest.raises(InsufficientPrivilege):
                    acme.execute(f"set session authorization {role}")

    def test_a_search_path_of_its_own_changes_nothing(self, acme: psycopg.Connection[Any]) -> None:
        acme.execute("create temp table tenant_grants (login name, tenant_id text)")
        acme.execute("insert into tenant_grants values (session_user, 'other')")
        acme.execute("create temp table event_log (id uuid, tenant_id text, event_name text)")
        acme.execute(
            "create function pg_temp.session_tenants() returns text[] language sql as $$ select array['other'] $$"
        )
        acme.execute("create function pg_temp.uuid7() returns uuid language sql as $$ select null::uuid $$")
        acme.execute("set search_path = pg_temp, holdfast")
        assert tenants(acme) == ["acme"] * 2
        with pytest.raises(InsufficientPrivilege):
            acme.execute("select holdfast.tenant_publish('c', '1', tenant_id => 'other')")
        acme.execute("select holdfast.tenant_publish('c', '1')")
        assert tenants(acme) == ["acme"] * 3

    def test_an_operator_of_its_own_sees_nothing_more(self, acme: psycopg.Connection[Any]) -> None:
        """Conditions by operators that somebody made are no more leakproof than functions."""
        notices: list[str] = []
        acme.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        acme.execute(
            "create function pg_temp.like_it(text, text) returns boolean language plpgsql cost 0.0000000001 as"
            " $$ begin raise notice '%', $1; return true; end $$"
        )
        acme.execute("create operator pg_temp.=== (leftarg = text, rightarg = text, function = pg_temp.like_it)")
        acme.execute("select from holdfast.tenant_events where event_name operator(pg_temp.===) 'x'")
        assert len(notices) == 2

    def test_leakproof_is_not_for_it_to_say(self, acme: psycopg.Connection[Any]) -> None:
        with pytest.raises(InsufficientPrivilege):
            acme.execute("create function pg_temp.f(text) returns boolean language sql leakproof as 'select true'")

    def test_views_over_its_views_and_prepared_statements(self, logins: Logins, acme: psycopg.Connection[Any]) -> None:
        acme.execute("create temp view mine as select * from holdfast.tenant_events")
        acme.execute("prepare all_of_it as select tenant_id from mine")
        assert acme.execute("execute all_of_it").fetchall() == [("acme",)] * 2
        acme.execute("begin; declare c cursor with hold for select tenant_id from mine; commit")
        assert acme.execute("fetch all from c").fetchall() == [("acme",)] * 2

    def test_statistics_say_nothing_of_values(
        self, acme: psycopg.Connection[Any], admin: psycopg.Connection[Any]
    ) -> None:
        admin.execute("analyze holdfast.event_log")
        for catalogue in ("pg_stats", "pg_stats_ext"):
            assert acme.execute(f"select count(*) from {catalogue} where schemaname = 'holdfast'").fetchone() == (0,)
        with pytest.raises(InsufficientPrivilege):
            acme.execute("select from pg_statistic")

    def test_row_locks_and_advisory_looks_are_refused(self, acme: psycopg.Connection[Any]) -> None:
        for statement in (
            "select from holdfast.tenant_events for update", "select from holdfast.tenant_events for key share",
            "comment on view holdfast.tenant_events is 'mine'",
            "create rule r as on select to holdfast.tenant_events do instead select 1",
            "alter view holdfast.tenant_events set (security_barrier = false)",
            "create or replace view holdfast.tenant_events as select 1", "create table holdfast.mine (n integer)",
            "grant holdfast_tenant to holdfast_viewer", "create trigger t before insert on holdfast.event_log execute function holdfast.commit_synchronously()",
        ):  # fmt: skip
            with pytest.raises(psycopg.Error) as caught:
                acme.execute(statement)
            assert caught.value.sqlstate == "42501", statement

    def test_a_bus_cannot_work_or_publish_with_it(self, logins: Logins) -> None:
        import asyncio

        async def publish() -> None:
            bus = EventBus(logins.acme, spool="off")
            try:
                await bus.publish("a", 1)
            finally:
                await bus.close()

        with pytest.raises(HoldfastError):
            asyncio.run(publish())


class TestBinding:
    def test_who_could_see_more_is_not_bound(
        self, migrated_dsn: str, admin: psycopg.Connection[Any], logins: Logins
    ) -> None:
        user = f"user_{uuid4().hex[:8]}"
        group = f"{user}_group"
        admin.execute(f"create role {user} login")
        admin.execute(f"create role {group} nologin")
        try:
            for granting in (
                f"grant holdfast_viewer to {user}", f"alter role {user} superuser", f"grant pg_read_all_data to {user}",
                f"grant select (id) on holdfast.event_log to {user}", f"grant insert on holdfast.event_store to {user}",
            ):  # fmt: skip
                admin.execute(granting)
                assert "cannot be bound" in holdfast(migrated_dsn, "roles", "tenant", "add", user, "acme", code=2)
                admin.execute(f"alter role {user} nosuperuser")
                admin.execute(f"drop owned by {user}")
                admin.execute(f"revoke holdfast_viewer, pg_read_all_data from {user}")
            # Not inherited, yet SET ROLE leads there.
            admin.execute(f"alter role {user} noinherit")
            admin.execute(f"grant {group} to {user}")
            admin.execute(f"grant holdfast_operator to {group}")
            assert "as holdfast_operator" in holdfast(migrated_dsn, "roles", "tenant", "add", user, "acme", code=2)
            assert "no such role" in holdfast(migrated_dsn, "roles", "tenant", "add", "nobody_there", "acme", code=2)
            assert "cannot log in" in holdfast(migrated_dsn, "roles", "tenant", "add", group, "acme", code=2)
        finally:
            admin.execute(f"drop role {user}, {group}")

    def test_rights_that_come_later_are_found_by_the_list(
        self, migrated_dsn: str, logins: Logins, admin: psycopg.Connection[Any]
    ) -> None:
        user = urlsplit(logins.acme).username
        listed = json.loads(holdfast(migrated_dsn, "roles", "tenant", "list", "--json"))
        assert [one["tenant_id"] for one in listed if one["login"] == user and one["problem"] is None] == ["acme"]
        admin.execute(f"grant holdfast_viewer to {user}")
        listed = json.loads(holdfast(migrated_dsn, "roles", "tenant", "list", "--json"))
        assert [one["login"] for one in listed if one["problem"]] == [user]

    def test_it_is_audited_and_undone_whole(
        self, migrated_dsn: str, logins: Logins, admin: psycopg.Connection[Any]
    ) -> None:
        user = urlsplit(logins.acme).username or ""
        assert "is bound to tenant more" in holdfast(migrated_dsn, "roles", "tenant", "add", user, "more")
        assert "bound to 2 tenants less" in holdfast(migrated_dsn, "roles", "tenant", "remove", user, "--yes")
        assert "is not bound" in holdfast(migrated_dsn, "roles", "tenant", "remove", user, "--yes", code=1)
        with closing(psycopg.connect(logins.acme, autocommit=True)) as bound, pytest.raises(InsufficientPrivilege):
            tenants(bound)
        rows = admin.execute(
            "select action, allowed, detail ->> 'tenant_id' from holdfast.audit where target = %s order by id", [user]
        ).fetchall()
        assert rows == [
            ("tenant add", True, "more"), ("tenant remove", True, None),
            ("tenant remove", False, None),
        ]  # fmt: skip

    def test_a_viewer_or_operator_cannot_bind_anybody(
        self, migrated_dsn: str, logins: Logins, admin: psycopg.Connection[Any]
    ) -> None:
        user = f"user_{uuid4().hex[:8]}"
        for part in ("viewer", "operator", "worker", "eraser", "publisher"):
            admin.execute(f"create role {user}_{part} login password 'secret' in role holdfast_{part}")
        try:
            for part in ("viewer", "operator", "worker", "eraser", "publisher"):
                with closing(psycopg.connect(as_login(migrated_dsn, f"{user}_{part}"), autocommit=True)) as connection:
                    for statement in (
                        "select holdfast.bind_tenant('someone', 'acme')", "insert into holdfast.tenant_grants values ('x', 'y')",
                    ):  # fmt: skip
                        with pytest.raises(InsufficientPrivilege):
                            connection.execute(statement)
        finally:
            for part in ("viewer", "operator", "worker", "eraser", "publisher"):
                admin.execute(f"drop role {user}_{part}")

    def test_a_file_has_no_logins(self, tmp_path: Any) -> None:
        dsn = f"sqlite:///{tmp_path / 'shop.db'}"
        holdfast(dsn, "migrate")
        assert "has no roles" in holdfast(dsn, "roles", "tenant", "list", code=2)


async def test_no_plan_of_the_engine_knows_of_it(migrated_dsn: str, admin: psycopg.Connection[Any]) -> None:
    """Nothing is attached to the tables that workers use: no policy, no trigger, no index, no row security."""
    tables = "relnamespace = 'holdfast'::regnamespace and relkind in ('r', 'p')"
    assert admin.execute(f"select count(*) from pg_class where {tables} and relrowsecurity").fetchone() == (0,)
    assert admin.execute("select count(*) from pg_policy").fetchone() == (0,)
    store = make_store(migrated_dsn, timeout=10)
    await store.open()
    await store.close()


async def test_policies_of_postgresqls_own_would_keep_workers_out(
    migrated_dsn: str, admin: psycopg.Connection[Any], logins: Logins
) -> None:
    """Why there are none: also one that shows a worker everything is one that the engine's own guard refuses."""
    user = f"user_{uuid4().hex[:8]}"
    admin.execute(f"create role {user} login password 'secret' in role holdfast_worker")
    admin.execute("alter table holdfast.event_log enable row level security")
    admin.execute("create policy all_of_it on holdfast.event_log to holdfast_worker using (true) with check (true)")
    store = make_store(as_login(migrated_dsn, user), timeout=10)
    try:
        with pytest.raises(WrongStore, match="row security"):
            await store.open()
    finally:
        await store.close()
        admin.execute(f"drop role {user}")
