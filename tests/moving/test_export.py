"""Events out into files, and in again."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest
from pyarrow import parquet

from holdfast.moving import pages, reading
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from tests.bus.waiting import program_environment, sql
from tests.moving.desk import command, log_of, printed

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import EventBus

PAST = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
EVENTS: list[dict[str, Any]] = [
    {"name": "order.placed", "payload": {"n": 0, "text": "äöü\n€"}, "key": "a", "tenant_id": "acme", "headers": {"actor": "bob"}},
    {"name": "order.paid", "payload": [1, 2.5, None], "tenant_id": "umbra", "occurred_at": PAST},
    {"name": "stock.moved", "payload": "only text", "key": "b", "tenant_id": "acme"},
]  # fmt: skip


async def stored(make_bus: Callable[..., EventBus], dsn: str) -> list[str]:
    """The events above, stored; their ids."""
    bus = make_bus(dsn)
    ids = [str(one.event_id) for one in await bus.publish_many(EVENTS)]
    await bus.close()
    return ids


def lines_of(text: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_what_is_exported_can_be_published_again_and_is_the_same(own_dsn, make_bus, tmp_path):
    ids, file = await stored(make_bus, own_dsn), tmp_path / "events.jsonl"
    assert "3 events exported" in await printed("export", "--dsn", own_dsn, "--output", str(file))
    lines = lines_of(file.read_text())
    assert [line["id"] for line in lines] == ids
    assert lines[1]["occurred_at"] == "2024-02-29T12:00:00.123456Z"
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert "3 events stored" in await printed("publish", "--dsn", other, "--jsonl", str(file))
    assert "3 of them were stored before" in await printed("publish", "--dsn", other, "--jsonl", str(file))
    assert [row[:4] for row in log_of(other)] == [row[:4] for row in log_of(own_dsn)]
    again = await printed("export", "--dsn", other, "--output", str(tmp_path / "again.jsonl"))
    assert lines_of((tmp_path / "again.jsonl").read_text()) == lines, again


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--tenant", "acme"], [0, 2]),
        (["--name", "order.*"], [0, 1]),
        (["--key", "b"], [2]),
        (["--until", "2024-03-01T00:00:00"], [1]),
        (["--since", "2024-03-01T00:00:00", "--tenant", "acme", "--name", "order.placed"], [0]),
        (["--tenant", "nobody"], []),
    ],
)
async def test_only_what_is_asked_for(own_dsn, make_bus, tmp_path, words, numbers):
    ids, file = await stored(make_bus, own_dsn), tmp_path / "events.jsonl"
    await printed("export", "--dsn", own_dsn, "-o", str(file), *words)
    assert [line["id"] for line in lines_of(file.read_text())] == [ids[number] for number in numbers]


async def test_standard_output_has_the_lines_and_nothing_else(sqlite_dsn, make_bus):
    ids = await stored(make_bus, sqlite_dsn)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "holdfast", "export", "--dsn", sqlite_dsn], env=program_environment(), capture_output=True,
        check=True,
    )  # fmt: skip
    assert [line["id"] for line in lines_of(done.stdout)] == ids
    assert done.stderr == b"3 events exported\n"


async def test_the_same_events_are_the_same_bytes_packed_too(sqlite_dsn, make_bus, tmp_path):
    ids = await stored(make_bus, sqlite_dsn)
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        await printed("export", "--dsn", sqlite_dsn, "-o", str(tmp_path / name))
    assert [line["id"] for line in lines_of(gzip.decompress((tmp_path / "one.jsonl.gz").read_bytes()))] == ids
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()


async def test_parquet_has_columns_with_types(own_dsn, make_bus, tmp_path):
    ids, file = await stored(make_bus, own_dsn), tmp_path / "events.parquet"
    await printed("export", "--dsn", own_dsn, "-o", str(file))
    found = parquet.read_table(file)
    assert found.schema.field("occurred_at").type == pa.timestamp("us", tz="UTC")
    assert found.column("id").to_pylist() == ids
    assert found.column("key").to_pylist() == ["a", None, "b"]
    assert found.column("occurred_at").to_pylist()[1] == PAST
    assert [json.loads(text) for text in found.column("payload").to_pylist()] == [one["payload"] for one in EVENTS]


async def test_a_file_that_is_there_is_left_alone(sqlite_dsn, make_bus, tmp_path):
    await stored(make_bus, sqlite_dsn)
    (tmp_path / "events.jsonl").write_text("mine")
    done = await command("export", "--dsn", sqlite_dsn, "-o", str(tmp_path / "events.jsonl"))
    assert (done.exit_code, (tmp_path / "events.jsonl").read_text()) == (2, "mine")
    done = await command("export", "--dsn", f"sqlite:///{tmp_path / 'none.db'}", "-o", str(tmp_path / "other.jsonl"))
    assert done.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".jsonl") == ["events.jsonl"]


async def test_pages_are_bounded_in_positions_and_in_bytes(own_dsn, make_bus, monkeypatch):
    bus = make_bus(own_dsn)
    sent = [
        one.event_id
        for one in await bus.publish_many([{"name": "a", "payload": "x" * size} for size in [10, 90, 10] * 5])
    ]
    await bus.close()
    monkeypatch.setattr(reading, "POSITIONS", 7)
    monkeypatch.setattr(reading, "PAGE_BYTES", 100)
    store = make_store(own_dsn)
    inspector, _ = make_inspector(store)
    found = [page async for page in pages(inspector)]
    await inspector.close()
    await store.close()
    assert [one.id for page in found for one in page] == [str(one) for one in sent]
    assert all(sum(len(one.payload) for one in page[:-1]) < 100 for page in found)
    assert len(found) > 5


async def test_what_commits_while_it_runs_is_not_in_it(migrated_dsn, make_bus, monkeypatch):
    ids = await stored(make_bus, migrated_dsn)
    monkeypatch.setattr(reading, "POSITIONS", 1)
    store = make_store(migrated_dsn)
    inspector, _ = make_inspector(store)
    found: list[str] = []
    with psycopg.connect(migrated_dsn) as late:
        late.execute("insert into holdfast.event_store (tenant_id, event_name, payload) values ('t', 'a', '1')")
        sql(migrated_dsn, "insert into event_store (tenant_id, event_name, payload) values ('t', 'b', '1')")
        async for page in pages(inspector):
            late.commit()
            found += [one.id for one in page]
    await inspector.close()
    await store.close()
    assert found[:3] == ids
    assert len(found) == 4
