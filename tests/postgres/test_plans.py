"""Hot queries keep their plan: by index, also where the server has settled on one plan for all parameters."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest

from tests.contract.harness import Scene

EVENTS = 100_000
STEPS = ["read_new", "read_window", "lowest_position", "claimable", "claim", "known", "suspects", "next_due"]


@pytest.fixture(scope="module")
def filled_dsn(migrated_copies):
    """A store with many events, receipts and delivery rows, and up-to-date statistics."""
    dsn = migrated_copies()
    with closing(psycopg.connect(dsn, autocommit=True, options="-c search_path=holdfast")) as connection:
        connection.execute(
            "insert into subscriptions (name, patterns, regexes, partitions, ordering, on_dead, replayable, start_snapshot,"
            " start_position) select 's' || n, '{**}', '{.*}', 8, 'key', 'hold', true, '1:1:', 0 from generate_series(1, 3) n"
        )
        connection.execute(
            "insert into leases (subscription, partition) select s.id, p from subscriptions s, generate_series(0, 7) p"
        )
        connection.execute(
            "insert into cursors (subscription, partition, done) "
            "select s.id, p, pg_current_snapshot() from subscriptions s, generate_series(0, 7) p"
        )
        for _ in range(10):
            connection.execute(
                "insert into event_log (event_name, event_key, payload) "
                "select 'a.b', 'k' || n % 1000, json_build_object('n', n, 'text', repeat('x', 100)) "
                f"from generate_series(1, {EVENTS // 10}) as n"
            )
        connection.execute("insert into receipts (day, subscription, event_id) select day, 1, id from event_log")
        connection.execute(
            "insert into deliveries (subscription, partition, event_id, day, position, tenant_id, event_key, event_name, "
            "state) select 1, slot % 8, id, day, position, tenant_id, event_key, event_name, "
            "case when position % 50 = 0 then 'retrying' else 'dead' end from event_log where position % 10 = 0"
        )
        connection.execute("analyze")
    return dsn


def plan_of(connection: psycopg.Connection, scene: Scene, name: str, values: dict[str, str]) -> str:
    """The plan for any parameters, with these filled in."""
    order: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in order:
            order.append(match[1])
        return f"${order.index(match[1]) + 1}"

    text = re.sub(r"%\((\w+)\)[sb]", number, scene.store._statements[name].rstrip().rstrip(";")).replace("%%", "%")
    connection.execute(f"prepare hot as {text}")
    explained = connection.execute(
        f"explain (analyze, buffers) execute hot ({', '.join(values[one] for one in order)})"
    )
    plan = "\n".join(line for (line,) in explained.fetchall())
    connection.execute("deallocate hot")
    return plan


@pytest.mark.parametrize("name", STEPS)
async def test_hot_queries_keep_their_index(filled_dsn, name):
    from holdfast.stores import make_store

    scene = Scene("postgres", filled_dsn, make_store(filled_dsn, timeout=30))
    with closing(
        psycopg.connect(filled_dsn, autocommit=True, options="-c plan_cache_mode=force_generic_plan")
    ) as connection:
        ((done, before),) = connection.execute(
            "select pg_current_snapshot()::text, (select max(txid)::text from holdfast.event_log)"
        ).fetchall()
        ((event_id, day),) = connection.execute(
            "select id, day - date '2000-01-01' from holdfast.event_log limit 1"
        ).fetchall()
        values = {
            # For a page, somewhere before the end: the last of the ten transactions is the window.
            "done": f"'{done}'" if name == "read_new" else f"'{before}:{before}:'",
            "open": f"'{done}'",
            "floor": f"'{datetime.now(UTC).date()}'",
            "limit": "1000", "max_bytes": "1000000", "position": str(EVENTS - 5000), "subscription": "1",
            "subscriptions": "'{1}'", "partitions": "'{3}'", "epochs": "'{0}'", "ttl": "30", "ids": f"array['{event_id}']::uuid[]",
            "prefix": "2000", "days": f"'{{{day}}}'", "worker": f"'{event_id}'",
        }  # fmt: skip
        if name == "claim":
            values["ids"] = "'{20, 50, 70}'"
        plan = plan_of(connection, scene, name, values)
    await scene.close()
    scans = re.findall(r"Seq Scan on (event_log\w*|receipts\w*|deliveries\w*)", plan)
    today = datetime.now(UTC).strftime("%Y%m%d")
    assert not [table for table in scans if table == "deliveries" or table.endswith(today)], plan
