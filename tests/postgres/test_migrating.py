"""Making the tables beside others: those who make them too, whatever the database's defaults, and those who use them."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from holdfast.stores import make_store
from holdfast.stores.postgres.migrations import scripts
from holdfast.stores.sql import Statements

MIGRATORS = 8


@pytest.mark.parametrize(
    "defaults",
    [
        {},
        {"default_transaction_isolation": "repeatable read"},
        {"default_transaction_isolation": "serializable"},
    ],
    ids=lambda defaults: ", ".join(defaults.values()) or "none",
)
async def test_each_step_is_made_once(postgres_dsn: str, defaults: dict[str, str]) -> None:
    name = psycopg.conninfo.conninfo_to_dict(postgres_dsn)["dbname"]
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        for setting, value in defaults.items():
            admin.execute(f"alter database {name} set {setting} = '{value}'".encode())
    stores = [make_store(postgres_dsn) for _ in range(MIGRATORS)]
    applied = await asyncio.gather(*(store.migrate() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))
    steps = [step for steps in applied for step in steps]
    assert steps
    assert len(steps) == len(set(steps))


async def test_whoever_needs_a_table_meanwhile_is_not_kept_waiting(postgres_dsn: str) -> None:
    """A handler has a transaction open on a table that a step has to lock."""
    statements = Statements("holdfast.stores.postgres", "holdfast")
    steps = list(scripts("holdfast", statements))
    locking = next(number for number, (step, _) in enumerate(steps) if step is not None and step.name == "synchronous")
    before, missing = steps[:locking], [step.title for step, _ in steps[locking:] if step is not None]
    with psycopg.connect(postgres_dsn, autocommit=True) as others:
        for _, text in before:
            others.execute(text.encode())
        others.execute("set lock_timeout = '5s'")
        store = make_store(postgres_dsn)
        with psycopg.connect(postgres_dsn) as handler:
            handler.execute("lock table holdfast.receipts in row exclusive mode")
            migrating = asyncio.create_task(store.migrate())
            while not await asyncio.to_thread(is_waiting, others):
                assert not migrating.done()
            for _ in range(20):
                await asyncio.to_thread(others.execute, "delete from holdfast.receipts where false")
            assert not migrating.done()
        assert await migrating == missing
        await store.close()


def is_waiting(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether the migrator waits for a lock just now."""
    found = connection.execute(
        "select from pg_stat_activity where application_name = 'holdfast migrate' "
        "and datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"
    )
    return found.fetchone() is not None
