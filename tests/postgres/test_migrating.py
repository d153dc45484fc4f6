"""Several make the tables at the same moment, whatever the database's defaults are: one does, the others find it done."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from holdfast.stores import make_store

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
