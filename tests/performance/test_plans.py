"""Hot statements look at what they are about, however long the history is: by index, whatever plan the server takes.

At a million events, with fresh statistics and without any, with a plan for the parameters given and with one for all.
Building those takes longer than all else here: about 10 s on a quiet machine, once.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import psycopg
import pytest

from holdfast.stores.sql import Statements
from tests.performance.plans import looked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.testing import LocalPostgres

pytestmark = pytest.mark.timeout(600)

EVENTS, TRANSACTIONS = 1_000_000, 10
WINDOW = EVENTS // TRANSACTIONS
PAGE = 1_000
RETRYING = EVENTS // 50
"""Delivery rows that wait for a retry, one in eight in the partition that is looked at; four times as many are dead."""
CLAIMED, CLAIMED_FROM = 256, 2_000
MIDDLE = EVENTS // 2
STATEMENTS = Statements("holdfast.stores.postgres", "holdfast")

_FILL = """
    insert into subscriptions (name, patterns, regexes, partitions, ordering, on_dead, replayable, start_snapshot,
        start_position)
    select 's' || n, '{**}', '{.*}', 8, 'key', 'hold', true, '1:1:', 0 from generate_series(1, 3) as n;
    insert into leases (subscription, partition, owner, epoch, lease_until)
    select s.id, p, gen_random_uuid(), 1, clock_timestamp() + interval '1 hour'
    from subscriptions as s, generate_series(0, 7) as p;
    insert into cursors (subscription, partition, done)
    select s.id, p, pg_current_snapshot() from subscriptions as s, generate_series(0, 7) as p;
    insert into receipts (day, subscription, event_id) select day, 1, id from event_log where position % 10 > 0;
    insert into deliveries (subscription, partition, event_id, day, position, tenant_id, event_key, event_name, state)
    select 1, slot % 8, id, day, position, tenant_id, event_key, event_name,
        case when position % 50 = 0 then 'retrying' else 'dead' end
    from event_log where position % 10 = 0;
    update deliveries set state = 'running', claim = 1 where state = 'retrying' and position % 1000 = 0;
    insert into scheduled (id, due_at, tenant_id, event_name, payload)
    select id, clock_timestamp() + (position - 1000) * interval '1 minute', tenant_id, event_name, payload
    from event_log where position % 10 = 0;
    insert into let_go (subscription, day, shown) select 1, max(day), pg_current_snapshot() from event_log;
"""
_OF_ONE_PARTITION = "select id from deliveries where subscription = 1 and partition = 3"
_FORGET = """
    delete from pg_statistic where starelid in (
        select oid from pg_class where relnamespace = 'holdfast'::regnamespace)
"""
# Ids that grow are taken in by their index sooner than random ones.
_EVENTS = f"""
    insert into event_log (id, event_name, event_key, payload)
    select (lpad(to_hex(%s * {WINDOW} + n), 8, '0') || '-0000-4000-8000-000000000000')::uuid, 'a.b', 'k' || n %% 10000,
        json_build_object('n', n)
    from generate_series(1, {WINDOW}) as n
"""


@contextmanager
def _store(server: LocalPostgres) -> Iterator[psycopg.Connection]:
    """A connection to an empty store of its own."""
    name = f"holdfast_test_{uuid4().hex[:12]}"
    with closing(psycopg.connect(server.dsn(), autocommit=True)) as admin:
        admin.execute(f'create database "{name}"')
        options = "-c search_path=holdfast"
        with closing(psycopg.connect(server.dsn(name), autocommit=True, options=options)) as connection:
            yield connection
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture(scope="module")
def filled(logging_server: LocalPostgres) -> Iterator[psycopg.Connection]:
    """A store with a million events, and as many receipts and delivery rows together."""
    with _store(logging_server) as connection:
        for number in range(TRANSACTIONS):
            connection.execute(_EVENTS, [number])
        connection.execute(_FILL)
        connection.execute("analyze")
        yield connection


@pytest.fixture(scope="module")
def values(filled: psycopg.Connection) -> dict[str, str]:
    """What parameters are called below. The last of the ten transactions is the window."""

    def literal(expression: str) -> str:
        ((text,),) = filled.execute(f"select ({expression})::text").fetchall()
        return f"'{text}'"

    return {
        "now": literal("pg_current_snapshot()"),
        "before": literal("select max(txid)::text || ':' || max(txid)::text || ':' from event_log"),
        "page": literal(f"array(select id from event_log where position between {MIDDLE} and {MIDDLE} + {PAGE} - 1)"),
        "one": literal(f"select id from event_log where position = {MIDDLE}"),
        "today": literal("select max(day) - date '2000-01-01' from event_log"),
        "days": literal(f"select array_fill(max(day) - date '2000-01-01', array[{PAGE}]) from event_log"),
        "retrying": literal(f"array({_OF_ONE_PARTITION} and state = 'retrying' order by id limit {CLAIMED})"),
        "running": literal(f"array(select id from deliveries where state = 'running' order by id limit {CLAIMED})"),
        "masks": literal(
            "select json_agg(json_build_object('number', position, 'day', day - date '2000-01-01', 'headers', '{}')) "
            f"from event_log where position between {MIDDLE} and {MIDDLE} + {PAGE} - 1"
        ),
        "the day": literal("select max(day) from event_log"),
        "claims": literal(f"array_fill(1, array[{CLAIMED}])"),
    }


class Hot(NamedTuple):
    """
    A statement, and what it is about.

    Attributes:
        at: Rows that it may look at in the tables that grow, the ones thrown away included.
        sorts: Rows that it may put in order.
        values: Parameters that differ from `_VALUES`.
        needs_statistics: Without any the server may prefer to read a whole index.
    """

    name: str
    at: int
    sorts: int = 0
    values: dict[str, str] = {}  # noqa: RUF012 - never changed
    needs_statistics: bool = False

    def __str__(self) -> str:
        return "-".join((self.name, *self.values.values()))


_VALUES = {
    "done": "before", "open": "now", "horizon": "now", "floor": "'-infinity'", "limit": str(PAGE),
    "position": str(EVENTS - WINDOW // 2), "last": str(EVENTS - WINDOW // 2 + PAGE - 1), "max_bytes": "10000000", "without": "null::text[]",
    "subscription": "1", "subscriptions": "'{1}'", "partition": "3", "partitions": "'{3}'", "epoch": "1",
    "epochs": "'{1}'", "ids": "page", "days": "days", "day": "today", "attempts": "1",
    "idle": "'305000ms'",
}  # fmt: skip
HOT = [
    Hot("read_new", PAGE + 1, PAGE + 1),
    Hot("read_new", 0, 0, {"done": "now"}),
    Hot("read_window", PAGE, PAGE),
    Hot("read_window", PAGE, 0, {"without": "array['acme', 'default']"}),
    Hot("window_span", WINDOW),
    Hot("known", 2 * PAGE, needs_statistics=True),
    Hot("existing", PAGE, needs_statistics=True),
    Hot("take_in", 2 * PAGE),
    Hot("first_receipt", 1, values={"id": "one", "replaces": "false"}),
    Hot("first_receipt", 2, values={"id": "one", "replaces": "true"}),
    Hot("suspects", 2 * RETRYING, CLAIMED, needs_statistics=True),
    Hot("next_due", RETRYING),
    Hot("redate", RETRYING),
    Hot("claimable", CLAIMED_FROM + 1, CLAIMED_FROM, {"prefix": str(CLAIMED_FROM), "limit": str(CLAIMED)}),
    Hot("claim", CLAIMED_FROM + 3 * CLAIMED, CLAIMED, {"ids": "retrying"}),
    Hot("begin_attempt", 1, values={"delivery": "7"}),
    Hot("next_scheduled", 1),
    Hot("take_scheduled", 64, values={"limit": "64"}),
    Hot("settle_finished", CLAIMED, values={"deliveries": "running", "claims": "claims"}),
]
# What `drain` waits by.
DRAIN = [
    Hot("caused_since", 0, values={"horizon": "now"}, needs_statistics=True),
    Hot("unsettled", 2 * RETRYING, needs_statistics=True),
]

# What goes through a whole log part by part.
_WHOSE = {"mask": "'1'", "word": "'erased'", "tenant_id": "null", "key": "'k7'"}
ERASE = [
    Hot("erasable_events", PAGE, PAGE, _WHOSE | {"after": str(MIDDLE), "until_position": str(MIDDLE + PAGE)}),
    Hot(
        "erase_events",
        PAGE,
        values={"rows": "masks", "mask": "'1'", "first": str(MIDDLE), "last": str(MIDDLE + PAGE - 1)},
    ),
]
LET_GO = [
    Hot("left_behind_page", PAGE, PAGE, {"day": "the day", "position": str(MIDDLE)}, needs_statistics=True),
    Hot(
        "left_behind",
        3 * PAGE,
        PAGE,
        {"day": "the day", "after": str(MIDDLE), "last": str(MIDDLE + PAGE)},
        needs_statistics=True,
    ),
]


@pytest.mark.parametrize("hot", [*HOT, *DRAIN, *ERASE, *LET_GO], ids=str)
def test_a_hot_statement_looks_at_what_it_is_about_and_by_index(
    filled: psycopg.Connection, values: dict[str, str], hot: Hot
) -> None:
    given = {name: values.get(value, value) for name, value in (_VALUES | hot.values).items()}
    for has_statistics in (True,) if hot.needs_statistics else (True, False):
        for mode in ("force_generic_plan", "force_custom_plan"):
            with filled.transaction(force_rollback=True):
                if not has_statistics:
                    filled.execute(_FORGET)
                found = looked(filled, STATEMENTS[hot.name], given, mode)
            case = f"{mode}, {'with' if has_statistics else 'without'} statistics"
            print(f"{case}: {found.at} rows looked at, {found.sorted} sorted")
            assert found.whole == [], f"{case}\n{found.plan}"
            assert found.at <= hot.at, f"{case}\n{found.plan}"
            assert found.sorted <= hot.sorts, f"{case}\n{found.plan}"


BATCHES, BATCH = 5, 10_000
# With the last batch's transaction among those that were running then.
LATE = "select max(txid)::text || ':' || pg_snapshot_xmax(pg_current_snapshot())::text || ':' || max(txid)::text from event_log"


@pytest.fixture(scope="module")
def batched(logging_server: LocalPostgres) -> Iterator[psycopg.Connection]:
    """A log of few transactions with many events each, where a transaction's id seems to be that of a good part of all."""
    with _store(logging_server) as connection:
        for _ in range(BATCHES):
            connection.execute(
                "insert into event_log (id, event_name, payload)"
                f" select gen_random_uuid(), 'a.b', to_json(repeat('x', 200)) from generate_series(1, {BATCH})"
            )
        connection.execute("analyze")
        yield connection


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("statement", ["read_new", "caused_since"])
@pytest.mark.parametrize(
    ("done", "most"), [("pg_current_snapshot()", 0), (f"({LATE})::pg_snapshot", BATCH)], ids=["nothing new", "late"]
)
def test_a_poll_of_a_log_of_large_transactions_looks_at_no_more_than_what_is_new(
    batched: psycopg.Connection, statement: str, mode: str, done: str, most: int
) -> None:
    """For all that were running together, by equality, the planner scans the log: each poll cost what ten pages did."""
    ((snapshot,),) = batched.execute(f"select ({done})::text").fetchall()
    given = _VALUES | {"done": f"'{snapshot}'", "horizon": f"'{snapshot}'"}
    found = looked(batched, STATEMENTS[statement], given, mode)
    assert found.whole == [], found.plan
    assert found.at <= most, found.plan


@pytest.mark.parametrize("has_statistics", [True, False])
def test_whether_a_day_is_needed_is_not_asked_of_each_of_its_events(
    filled: psycopg.Connection, values: dict[str, str], has_statistics: bool
) -> None:
    """Publishers wait for the second answer."""
    ((day, log),) = filled.execute("select max(day), tableoid::regclass::text from event_log group by 2").fetchall()

    def needed_by() -> tuple[list[str], int]:
        through = "select pg_stat_get_xact_tuples_returned(%s::regclass)"
        ((before,),) = filled.execute(through, [log]).fetchall()
        ((names,),) = filled.execute("select day_needed(%s, %s)", [day, log]).fetchall()
        ((after,),) = filled.execute(through, [log]).fetchall()
        return names, after - before

    with filled.transaction(force_rollback=True):
        if not has_statistics:
            filled.execute(_FORGET)
        filled.execute("delete from deliveries where state <> 'dead'")
        assert needed_by() == ([], 0)
        filled.execute(f"update cursors set done = {values['before']} where subscription = 2")
        assert needed_by() == (["s2"], 0)
        filled.execute("update subscriptions set behind_retention = 'drop' where id = 2")
        filled.execute(
            f"insert into let_go (subscription, day, shown, finished_at) values (2, %s, {values['now']}, now())", [day]
        )
        assert needed_by() == ([], 0)
        filled.execute(f"update let_go set shown = {values['before']} where subscription = 2")
        assert needed_by() == (["s2"], 0)
        last = values["before"].split(":")[0].strip("'")
        filled.execute(f"update cursors set done = '{last}:{int(last) + 1}:{last}' where subscription = 2")
        assert needed_by() == (["s2"], 0)
