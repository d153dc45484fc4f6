"""Looking for events looks at what it shows: by its search index, in the order that a page wants.

At 200,000 events in five days, of which a hundred are what is looked for; with a plan for the parameters given and with
one for all.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast.stores import make_store, sqlite
from holdfast.stores.inspector import make_inspector
from holdfast.stores.sql import Statements
from tests.performance.plans import looked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.stores.operator import Operator
    from holdfast.testing import LocalPostgres

pytestmark = pytest.mark.timeout(300)

EVENTS, EVERY = 200_000, 2_000
RARE = EVENTS // EVERY
DAYS, PAGE = 5, 50
INDEXES = ("time", "tenant", "key", "name", "correlation", "causation")
QUERIES = Path(sqlite.__file__).parent / "queries"
STATEMENTS = Statements("holdfast.stores.postgres", "holdfast")

_FILL = f"""
    select holdfast.make_day(current_date - n) from generate_series(1, {DAYS}) as n;
    insert into holdfast.event_log (day, occurred_at, tenant_id, event_name, event_key, payload, headers)
    select current_date - n %% {DAYS}, timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second',
        case when n %% {EVERY} = 0 then 'rare' else 't' || n %% 50 end,
        case when n %% {EVERY} = 0 then 'cart.opened' else 'order.placed' end, 'k' || n %% (2 * {EVERY}),
        json_build_object('n', n),
        case when n %% 4 = 0 then json_build_object('correlation_id', 'c' || n %% {EVERY}, 'causation_id', 'e' || n) end
    from generate_series(1, {EVENTS}) as n
"""


async def add_all(operator: Operator) -> None:
    for index in INDEXES:
        await operator.add_index(index, actor="me")


@pytest.fixture(scope="module")
def filled(logging_server: LocalPostgres) -> Iterator[psycopg.Connection]:
    """A store with a log of several days and all search indexes."""
    name = f"holdfast_test_{uuid4().hex[:12]}"

    async def build() -> None:
        store = make_store(logging_server.dsn(name), timeout=30)
        inspector, operator = make_inspector(store)
        await add_all(operator)
        await inspector.close()
        await store.close()

    with closing(psycopg.connect(logging_server.dsn(), autocommit=True)) as admin:
        admin.execute(f'create database "{name}"')
        options = "-c search_path=holdfast"
        with closing(psycopg.connect(logging_server.dsn(name), autocommit=True, options=options)) as connection:
            for statement in _FILL.replace("%%", "%").split(";"):
                connection.execute(statement)
            asyncio.run(build())
            connection.execute("analyze")
            yield connection
        admin.execute(f'drop database "{name}" with (force)')


class Search(NamedTuple):
    """A statement and its parameters. `at`: events that it may look at and sort; each day's partition is one ahead."""

    name: str
    values: dict[str, str]
    at: int = PAGE + DAYS + 5
    before: str = "null"
    limit: int = PAGE

    def __str__(self) -> str:
        return "-".join((self.name, *self.values.values(), self.before, str(self.limit)))


MIDDLE = str(EVENTS // 2)
SEARCHES = [
    search
    for before in ("null", MIDDLE, str(EVENTS - 100))
    for search in (
        Search("candidates_by_log", {}, before=before),
        Search("candidates_by_tenant", {"tenant_id": "'rare'"}, at=RARE, before=before),
        Search("candidates_by_tenant", {"tenant_id": "'t7'"}, before=before),
        Search("candidates_by_name", {"name": "'cart.opened'"}, at=RARE, before=before),
        Search("candidates_by_name", {"name": "'order.placed'"}, before=before),
        # More than there are events of a smaller name, which is what a planner may expect of it.
        Search("candidates_by_name", {"name": "'order.placed'"}, at=700, before=before, limit=500),
        Search("candidates_by_key", {"key": "'k8'"}, before=before),
        Search("candidates_by_correlation", {"correlation_id": "'c8'", "correlation_event": "null"}, before=before),
        Search(
            "candidates_by_time", {"since": "'2026-01-01 10:00:00Z'", "until": "'2026-01-03 00:00:00Z'"},
            before=before,
        ),
        # A time far back, beside something else: half a page of each.
        *(
            Search(f"candidates_by_{way}", values | {"since": "'2026-01-01 10:00:00Z'", "until": "'2026-01-01 11:00:00Z'"},
                   before=before)
            for way, values in {
                "tenant": {"tenant_id": "'t7'"},
                "name": {"name": "'order.placed'"},
                "key": {"key": "'k8'"},
                "correlation": {"correlation_id": "'c8'", "correlation_event": "null"},
            }.items()
        ),
        Search("effects", {"causes": "'{e8, e12, e16}'"}, at=3),
        Search("candidates_by_id", {"event_id": f"'{UUID(int=1)}'"}, before=before),
    )
]  # fmt: skip


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_a_search_looks_at_no_more_than_a_page(filled: psycopg.Connection, search: Search, mode: str) -> None:
    given = {"since": "null", "until": "null"} | search.values | {"before": search.before, "limit": str(search.limit)}
    found = looked(filled, STATEMENTS[search.name], given, mode)
    assert found.whole == [], found.plan
    assert found.at <= search.at, found.plan
    assert found.sorted <= search.at, found.plan


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_a_count_for_a_quota_looks_at_the_tenants_own_in_the_index(filled: psycopg.Connection, mode: str) -> None:
    given = {"tenant_id": "'rare'", "seconds": str(100 * 366 * 86_400), "limit": str(EVENTS)}
    found = looked(filled, STATEMENTS["count_recent"], given, mode)
    assert found.whole == [], found.plan
    assert found.at <= RARE + DAYS, found.plan
    assert "_by_tenant" in found.plan, found.plan


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_what_a_filter_means_of_a_page_is_read_by_place(filled: psycopg.Connection, mode: str) -> None:
    ((places, days),) = filled.execute(
        "select array_agg(position), array_agg(day - date '2000-01-01') from ("
        "select * from event_log where position % 400 = 0 order by position desc limit 500) as e"
    ).fetchall()
    given = dict.fromkeys(
        ("event_id", "regex", "tenant_id", "key", "since", "until", "correlation_id", "status"), "null"
    ) | {
        "positions": f"'{{{','.join(map(str, places))}}}'",
        "days": f"'{{{','.join(map(str, days))}}}'",
        "payload_path": "'{n}'",
        "payload_value": f"'{EVENTS}'",
        "limit": str(PAGE),
    }
    found = looked(filled, STATEMENTS["page_events"], given, mode)
    assert found.whole == [], found.plan
    assert found.at <= 2 * len(places), found.plan


@pytest.mark.parametrize("way", ["log", "id", "tenant", "name", "key", "correlation", "time"])
async def test_sqlite_walks_the_index_of_the_way(sqlite_dsn: str, way: str) -> None:
    store = make_store(sqlite_dsn)
    await store.open()
    inspector, operator = make_inspector(store)
    await add_all(operator)
    await inspector.close()
    names = (
        "before",
        "limit",
        "event_id",
        "tenant_id",
        "name",
        "key",
        "correlation_id",
        "correlation_event",
        "since",
        "until",
    )
    await store.close()
    # A connection that has seen the indexes from its beginning: "explain" does not look whether the schema has changed.
    with closing(sqlite3.connect(sqlite_dsn.removeprefix("sqlite:///"))) as connection:
        text = f"explain query plan {store._statements[f'candidates_by_{way}']}"
        steps = [row[3] for row in connection.execute(text, dict.fromkeys(names))]
    walks = [step for step in steps if step.startswith(("SEARCH e", "SCAN e"))]
    index = {"log": "INTEGER PRIMARY KEY", "id": "sqlite_autoindex"}.get(way, f"event_log_by_{way}")
    assert index in walks[0], steps
    assert all(step.startswith("SEARCH") for step in walks), steps
    assert way in {"correlation", "id"} or not any("TEMP B-TREE" in step for step in steps), steps


GROWING = {"event_log": "e", "receipts": "r", "deliveries": "d", "attempts": "a"}
_NAMED = re.compile(r"(?<![:\w]):([a-z]\w*)")
_WHOLE = re.compile(rf"BLOOM FILTER ON ({'|'.join([*GROWING, *GROWING.values()])})\b|SCAN ({'|'.join(GROWING)})\b")

# Statements that read all of a table, or in the order of one until they have enough, with the reason.
READS_ALL = {
    "estimate_events": "the newest 20,000",
    "redate": "once, at a migration or where a clock has stepped back",
}


@pytest.mark.parametrize("rows", [1_000, 100_000, 10_000_000])
async def test_sqlite_makes_no_bloom_filter_of_what_grows(sqlite_dsn: str, rows: int) -> None:
    store = make_store(sqlite_dsn)
    await store.open()
    inspector, operator = make_inspector(store)
    await add_all(operator)
    await inspector.close()
    await store.close()
    with closing(sqlite3.connect(sqlite_dsn.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        as_analyzed(connection, rows)
    with closing(sqlite3.connect(sqlite_dsn.removeprefix("sqlite:///"))) as connection:
        for function in ("matches", "slot", "at", "sha256"):
            connection.create_function(f"holdfast_{function}", -1, lambda *_: None, deterministic=True)
        found = {}
        for name in sorted(path.stem for path in QUERIES.glob("*.sql")):
            text = store._statements[name]
            given = dict.fromkeys(_NAMED.findall(text))
            steps = [row[3] for row in connection.execute(f"explain query plan {text}", given)]
            found[name] = [step for step in steps if _WHOLE.match(step)]
    assert {name: steps for name, steps in found.items() if steps and name not in READS_ALL} == {}


def as_analyzed(connection: sqlite3.Connection, rows: int) -> None:
    """Statistics as ``analyze`` leaves them where the tables that grow have so many rows each, and all others a few."""
    connection.execute("analyze")
    connection.execute("delete from sqlite_stat1")
    for table, index in connection.execute("select tbl_name, name from sqlite_master where type = 'index'").fetchall():
        columns = len(connection.execute(f"pragma index_info({index})").fetchall())
        stat = " ".join(map(str, [rows if table in GROWING else 8, *[4] * (columns - 1), 1]))
        connection.execute("insert into sqlite_stat1 values (?, ?, ?)", [table, index, stat])
