"""What a store takes up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.contract.desk import Desk


on_postgres = pytest.mark.parametrize("desk_dsn", ["postgres"], indirect=True)


@pytest.fixture
def is_postgres(desk_dsn: str) -> bool:
    return desk_dsn.startswith("postgresql")


async def test_tables_with_their_rows(desk: Desk, *, is_postgres: bool) -> None:
    await desk.publish(n=500, payload=b'"%s"' % (b"x" * 1000))
    await desk.died()
    storage = await desk.inspector.storage()
    assert storage.bytes > 500_000 or not is_postgres
    names = {one.table for one in storage.tables}
    assert {"event_log", "receipts", "deliveries", "attempts", "audit", "subscriptions"} <= names
    if not is_postgres:
        rows = {one.table: one.rows for one in storage.tables}
        assert (rows["event_log"], rows["deliveries"], rows["receipts"]) == (501, 1, None)
        assert {one.partition for one in storage.tables} == {None}


@on_postgres
async def test_days_of_the_log(desk: Desk) -> None:
    days = [one for one in (await desk.inspector.storage()).tables if one.table == "event_log"]
    assert days[0].partition == "event_log_default"
    assert days[0].since is None
    today = datetime.now(UTC).date()
    assert today in {one.since for one in days}
    assert all(one.until == one.since + timedelta(days=1) for one in days[1:])


async def test_what_an_sqlite_file_has_beside(desk: Desk, desk_dsn: str) -> None:
    await desk.publish(n=50)
    storage = await desk.inspector.storage()
    if desk_dsn == "sqlite://":
        assert (storage.write_ahead_bytes, storage.disk_free_bytes) == (None, None)
    elif desk_dsn.startswith("sqlite"):
        assert storage.write_ahead_bytes > 0
        assert storage.disk_free_bytes > 0
        assert storage.reusable_bytes == 0
        assert storage.oldest_transaction is None


async def test_indexes(desk: Desk, *, is_postgres: bool) -> None:
    await desk.operator.add_index("tenant", actor="me")
    found = {one.name: one for one in (await desk.inspector.storage()).indexes}
    assert found["event_log_by_tenant"].table == "event_log"
    assert found["event_log_by_tenant"].valid
    if is_postgres:
        assert found["event_log_by_tenant"].bytes > 0
        assert not any("_20" in name for name in found)


@on_postgres
async def test_the_oldest_transaction_of_the_server(desk: Desk, desk_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(desk_dsn, application_name="forgetful") as connection:
        await connection.execute("select 1")
        oldest = (await desk.inspector.storage()).oldest_transaction
        assert oldest is not None
        assert (oldest.application, oldest.state, oldest.pid) == (
            "forgetful", "idle in transaction", connection.info.backend_pid,
        )  # fmt: skip
        assert 0 <= oldest.seconds < 60
