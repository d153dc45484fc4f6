"""What retention drops is on the archive's disk first, and can be delivered from there."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import EventBus
from holdfast.archive import Archive, Draft, read
from holdfast.errors import ConfigurationError, InvalidInput
from holdfast.moving import files
from holdfast.stores import make_store
from tests.bus.waiting import sql, until
from tests.bus.waiting import stored as names_stored
from tests.contract.aging import A_DAY, aging
from tests.moving.desk import command, printed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVERYTHING = ["order.placed"] * 3


async def old_events(make_bus: Callable[..., EventBus], dsn: str) -> list[str]:
    """Three events that were handled, three days old; their ids."""
    bus, handled = make_bus(dsn), []
    bus.subscribe("order.*", handled.append, name="billing")
    ids = [str((await bus.publish("order.placed", {"n": number}, key="k")).event_id) for number in range(3)]
    async with bus:
        await bus.drain(10)
    await bus.close()
    for statement in aging(is_sqlite=dsn.startswith("sqlite"), schema="holdfast."):
        sql(dsn, statement)
    if not dsn.startswith("sqlite"):
        sql(dsn, "update receipts set day = (clock_timestamp() at time zone 'UTC')::date - 3")
    return ids


def archived(folder: Path) -> list[str]:
    """Ids in the files of what was dropped."""
    return [str(one.id) for file in sorted((folder / "@dropped").glob("*")) for one in read(file)]


async def maintain(dsn: str, folder: Path) -> int:
    store = make_store(dsn, timeout=10)
    await store.open()
    try:
        return (await store.maintain(retention=A_DAY, archive=Archive(folder))).dropped
    finally:
        await store.close()


async def test_a_worker_archives_what_it_drops(own_dsn, make_bus, tmp_path):
    ids = await old_events(make_bus, own_dsn)
    async with make_bus(own_dsn, retention=timedelta(days=1), archive=tmp_path / "archive", archive_dropped=True):
        await until(lambda: names_stored(own_dsn) == [])
    assert archived(tmp_path / "archive") == ids
    (file,) = (tmp_path / "archive" / "@dropped").iterdir()
    (line, *_) = [json.loads(line) for line in file.read_text().splitlines()]
    assert line.keys() == {"id", "name", "tenant_id", "occurred_at", "payload", "key"}


async def test_without_being_asked_it_archives_nothing(own_dsn, make_bus, tmp_path):
    await old_events(make_bus, own_dsn)
    async with make_bus(own_dsn, retention=timedelta(days=1), archive=tmp_path / "archive"):
        await until(lambda: names_stored(own_dsn) == [])
    assert not (tmp_path / "archive").exists()


async def test_what_cannot_be_written_is_not_dropped_and_it_says_so(own_dsn, make_bus, tmp_path, caplog):
    await old_events(make_bus, own_dsn)
    (tmp_path / "archive").write_text("no folder")
    async with make_bus(own_dsn, retention=timedelta(days=1), archive=tmp_path / "archive", archive_dropped=True):
        await until(lambda: "the archive cannot be written" in caplog.text)
    assert names_stored(own_dsn) == EVERYTHING
    done = await command(
        "retention",
        "--older-than",
        "1d",
        "--run",
        "--yes",
        "--archive",
        str(tmp_path / "archive" / "x"),
        "--dsn",
        own_dsn,
    )
    assert done.exit_code == 1
    assert names_stored(own_dsn) == EVERYTHING


async def test_a_disk_that_fails_while_it_is_synced_keeps_the_events(own_dsn, make_bus, tmp_path, monkeypatch):
    await old_events(make_bus, own_dsn)

    def fail(self: Any, number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("holdfast.spool_file.System.sync", fail)
    with pytest.raises(OSError, match="No space"):
        await maintain(own_dsn, tmp_path)
    assert names_stored(own_dsn) == EVERYTHING


async def test_the_command_archives_too_and_is_on_record(own_dsn, make_bus, tmp_path):
    ids = await old_events(make_bus, own_dsn)
    await printed(
        "retention", "--older-than", "1d", "--run", "--yes", "--archive", str(tmp_path / "a"), "--dsn", own_dsn
    )
    assert archived(tmp_path / "a") == ids
    ((detail,),) = sql(own_dsn, "select cast(detail as text) from audit where action = 'retention'")
    assert json.loads(detail)["archive"] == str(tmp_path / "a")
    assert (await command("retention", "--archive", str(tmp_path / "a"), "--dsn", own_dsn)).exit_code == 2


async def test_what_a_subscription_needs_is_neither_dropped_nor_archived(own_dsn, make_bus, tmp_path):
    await old_events(make_bus, own_dsn)
    bus = make_bus(own_dsn)
    bus.subscribe("**", print, name="others", start="beginning")
    await bus.publish("stock.moved", {})
    assert await maintain(own_dsn, tmp_path) == 0
    assert len(names_stored(own_dsn)) == 4
    assert not list(tmp_path.glob("@dropped/*"))


async def test_publishers_do_not_wait_for_the_disk(own_dsn, make_bus, tmp_path, monkeypatch):
    """While a page is written, an event is published from another process's connection."""
    ids, published = await old_events(make_bus, own_dsn), []
    kind, name = (Archive, "_append") if own_dsn.startswith("sqlite") else (Draft, "add")
    write = getattr(kind, name)

    def publish_meanwhile(self: Any, *given: Any) -> None:
        sql(own_dsn, "insert into event_store (tenant_id, event_name, payload) values ('t', 'stock.moved', '1')")
        published.append("stock.moved")
        write(self, *given)

    monkeypatch.setattr(kind, name, publish_meanwhile)
    await maintain(own_dsn, tmp_path)
    assert archived(tmp_path) == ids
    assert names_stored(own_dsn) == published == ["stock.moved"]


async def test_a_day_into_which_somebody_writes_stays(migrated_dsn, make_bus, tmp_path):
    await old_events(make_bus, migrated_dsn)
    with psycopg.connect(migrated_dsn) as late:
        late.execute(
            "insert into holdfast.event_log (day, event_name, payload) values "
            "((clock_timestamp() at time zone 'UTC')::date - 3, 'stock.moved', '1')"
        )
        assert await maintain(migrated_dsn, tmp_path) == 0
        assert not list(tmp_path.glob("@dropped/*"))
        late.rollback()
    assert await maintain(migrated_dsn, tmp_path) == 3
    assert len(archived(tmp_path)) == 3


async def test_a_day_that_has_grown_while_it_was_written_stays(migrated_dsn, make_bus, tmp_path, monkeypatch):
    await old_events(make_bus, migrated_dsn)
    keep = Draft.keep

    def grow(self: Draft) -> Any:
        sql(
            migrated_dsn,
            "insert into event_log (day, event_name, payload) values "
            "((clock_timestamp() at time zone 'UTC')::date - 3, 'stock.moved', '1')",
        )
        return keep(self)

    monkeypatch.setattr(Draft, "keep", grow)
    assert await maintain(migrated_dsn, tmp_path) == 0
    assert len(names_stored(migrated_dsn)) == 4
    assert not list(tmp_path.glob("@dropped/*"))


async def test_two_that_archive_the_same_day_leave_it_whole(migrated_dsn, make_bus, tmp_path, monkeypatch):
    """One has dropped the day while the other one was about to: whatever that one wrote is not kept in its place."""
    ids = await old_events(make_bus, migrated_dsn)
    keep, rivals = Draft.keep, []

    def overtaken(self: Draft) -> Any:
        monkeypatch.setattr(Draft, "keep", keep)
        rivals.append(asyncio.run(maintain(migrated_dsn, tmp_path)))  # in a thread of the store's: no loop runs there
        return keep(self)

    monkeypatch.setattr(Draft, "keep", overtaken)
    assert await maintain(migrated_dsn, tmp_path) == 0
    assert rivals == [3]
    assert archived(tmp_path) == ids


def test_without_a_folder_nothing_can_be_archived():
    with pytest.raises(ConfigurationError, match="archive_dropped"):
        EventBus("sqlite://", archive_dropped=True)


# Back again


async def test_what_was_dropped_is_delivered_to_the_subscription_that_is_named(own_dsn, make_bus, tmp_path):
    ids = await old_events(make_bus, own_dsn)
    await maintain(own_dsn, tmp_path)
    (file,) = (tmp_path / "@dropped").iterdir()
    done = await command("put-back", "--yes", "--dsn", own_dsn, str(file))
    assert done.exit_code == 2
    assert "give --to" in done.output
    assert "3 events of billing wait again." in await printed(
        "put-back", "--yes", "--dsn", own_dsn, "--to", "billing", str(file)
    )
    bus, got, others = make_bus(own_dsn), [], []
    bus.subscribe("order.*", lambda event: got.append((str(event.id), event.payload, event.key)), name="billing")
    bus.subscribe("**", others.append, name="others")
    async with bus:
        await bus.drain(10)
    assert got == [(one, {"n": number}, "k") for number, one in enumerate(ids)]
    assert others == []


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz", "events.parquet"])
async def test_of_what_the_log_still_has_only_those_without_a_receipt(own_dsn, make_bus, tmp_path, name):
    bus, got = make_bus(own_dsn), []
    bus.subscribe("order.*", lambda event: got.append(event.payload["n"]), name="billing")
    await bus.publish("order.placed", {"n": 0}, key="k")
    async with bus:
        await bus.drain(10)
    await bus.close()
    other = make_bus(own_dsn)
    await other.publish("stock.moved", {"n": 1}, key="k")  # no pattern of the subscription matches
    await other.publish("order.placed", {"n": 2}, key="k")  # it comes to this one by itself
    await other.close()
    await printed("export", "--dsn", own_dsn, "-o", str(tmp_path / name))
    advance = make_bus(own_dsn)
    advance.subscribe("order.*", lambda event: got.append(event.payload["n"]), name="billing")
    printed_now = await printed("put-back", "--yes", "--dsn", own_dsn, "--to", "billing", str(tmp_path / name))
    async with advance:
        await advance.drain(10)
    assert "1 event of billing waits again." in printed_now
    assert sorted(got) == [0, 1, 2]


async def test_a_file_from_another_store_meets_no_event_of_this_one(own_dsn, make_bus, tmp_path):
    """Positions are a store's own: what is put back must not be taken for the event that has the same one here."""
    line = {
        "subscription": "elsewhere", "id": "0199a3e4-6b00-7c1d-8000-000000000007", "name": "order.placed", "tenant_id": "t",
        "position": 1, "occurred_at": "2026-10-02T08:15:00.000000Z", "payload": {"n": 7},
    }  # fmt: skip
    (tmp_path / "file.jsonl").write_text(json.dumps(line, separators=(",", ":")) + "\n")
    bus, got = make_bus(own_dsn), []
    bus.subscribe("order.*", lambda event: got.append(event.payload["n"]), name="billing")
    await bus.publish("order.placed", {"n": 0})
    await printed("put-back", "--yes", "--dsn", own_dsn, "--to", "billing", str(tmp_path / "file.jsonl"))
    async with bus:
        await bus.drain(10)
    assert sorted(got) == [0, 7]


@pytest.mark.parametrize("content", [b"PAR1 and nothing", b"", b"{}"])
def test_what_is_no_parquet_is_refused(tmp_path, content):
    (tmp_path / "events.parquet").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"is none: .*events\.parquet"):
        list(files.read(tmp_path / "events.parquet"))
