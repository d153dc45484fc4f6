"""A subscription that lags behind retention, as the program that declares it and its operator see it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from holdfast import EventBus
from holdfast.cli import main
from holdfast.counts import WorkerCounts
from holdfast.encryption import MasterKeys
from holdfast.errors import ConfigurationError, InvalidSubscription
from holdfast.ids import new_id
from holdfast.ports import SYSTEM
from holdfast.stores import make_store
from holdfast.worker.letting_go import LettingGo
from tests.bus.waiting import sql, stored, until
from tests.contract.aging import aging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RETENTION = timedelta(days=1)


async def left_behind(make_bus: Callable[..., EventBus], dsn: str, tmp_path: Path, choice: Any, **options: Any) -> None:
    """Three events, three days old, that a subscription has not handled whose program does not run any more."""
    bus = make_bus(dsn, archive=tmp_path / "archive", **options)

    @bus.subscribe("order.*", name="billing", behind_retention=choice)
    async def bill(event: Any) -> None:
        raise AssertionError(event)

    for number in range(3):
        await bus.publish("order.placed", {"n": number}, key=f"order-{number}")
    await bus.close()
    for statement in aging(is_sqlite=dsn.startswith("sqlite"), schema="holdfast."):
        sql(dsn, statement)


async def command(dsn: str, *words: str) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, main, [*words, "--dsn", dsn])
    assert done.exit_code == 0, done.output
    return done.output


async def run_another(make_bus: Callable[..., EventBus], dsn: str, **options: Any) -> EventBus:
    """A worker of the store that knows nothing of the laggard."""
    bus = make_bus(dsn, retention=RETENTION, **options)
    await bus.__aenter__()
    return bus


def counts_of(bus: EventBus) -> Any:
    assert bus.counts is not None
    assert bus.counts.worker is not None
    return bus.counts.worker


async def test_it_is_named_before_anything_is_lost(own_dsn, make_bus, tmp_path):
    await left_behind(make_bus, own_dsn, tmp_path, "drop")
    bus = make_bus(own_dsn, retention=timedelta(days=10), retention_warning=timedelta(days=9))
    async with bus:
        await until(lambda: counts_of(bus).near_retention == ("billing",))
        assert stored(own_dsn) == ["order.placed"] * 3


@pytest.mark.parametrize("choice", ["archive", "drop"])
async def test_any_worker_lets_go_and_says_so(own_dsn, make_bus, tmp_path, choice):
    await left_behind(make_bus, own_dsn, tmp_path, choice)
    bus = await run_another(make_bus, own_dsn, archive=tmp_path / "archive")
    await until(lambda: stored(own_dsn) == ["holdfast.subscription.let_go"])
    assert counts_of(bus).let_go == {"billing": 3}
    told = json.loads(sql(own_dsn, "select cast(payload as text) from event_log")[0][0])
    assert (told["subscription"], told["choice"], told["events"]) == ("billing", choice, 3)
    assert told.get("archive") == (str(tmp_path / "archive") if choice == "archive" else None)
    assert (await command(own_dsn, "audit", "--action", "let go", "--json")).count('"let go"') == 1
    became = {"archive": "archived", "drop": "dropped"}[choice]
    assert f"billing: let go of 3 events beyond retention within a day, {became}" in await command(own_dsn, "status")


async def test_a_worker_without_an_archive_leaves_it_to_those_that_have_one(own_dsn, make_bus, tmp_path):
    await left_behind(make_bus, own_dsn, tmp_path, "archive")
    store, threads = make_store(own_dsn, timeout=10), SYSTEM.threads("archive", 1)
    await store.open()
    letting_go = LettingGo(store, None, WorkerCounts(), threads, new_id)
    assert not await letting_go.look(RETENTION.total_seconds())
    assert await store.maintain(retention=RETENTION.total_seconds()) == (0, ("billing",))
    await store.close()
    assert stored(own_dsn) == ["order.placed"] * 3


async def test_an_archive_that_cannot_be_written_keeps_the_events(own_dsn, make_bus, tmp_path):
    await left_behind(make_bus, own_dsn, tmp_path, "archive")
    place = tmp_path / "no folder"
    place.write_text("a file")
    bus = await run_another(make_bus, own_dsn, archive=place)
    await until(lambda: counts_of(bus).store_errors > 0)
    assert stored(own_dsn) == ["order.placed"] * 3


async def test_what_is_archived_can_be_put_back_for_that_subscription_alone(own_dsn, make_bus, tmp_path):
    await left_behind(make_bus, own_dsn, tmp_path, "archive")
    bus = await run_another(make_bus, own_dsn, archive=tmp_path / "archive")
    await until(lambda: stored(own_dsn) == ["holdfast.subscription.let_go"])
    await bus.close()
    (file,) = (tmp_path / "archive" / "billing").iterdir()
    assert "3 events of billing wait again." in await command(own_dsn, "put-back", "--yes", str(file))

    bus, billed, others = make_bus(own_dsn, archive=tmp_path / "archive"), [], []

    @bus.subscribe("order.*", name="billing", behind_retention="archive")
    async def bill(event: Any) -> None:
        billed.append((event.payload, event.key, event.tenant_id, event.name))

    @bus.subscribe("order.*", name="others", start="beginning")
    async def other(event: Any) -> None:
        others.append(event)

    async with bus:
        await until(lambda: len(billed) == 3)
        await bus.drain(10)
    assert billed == [({"n": number}, f"order-{number}", "default", "order.placed") for number in range(3)]
    assert others == []
    ((action, target, count),) = sql(own_dsn, "select action, target, count from audit where action = 'put back'")
    assert (action, target, count) == ("put back", "billing", 3)


async def test_what_is_encrypted_is_archived_so_and_read_once_it_is_put_back(own_dsn, make_bus, tmp_path):
    keys = MasterKeys({"first": b"1" * 32})
    await left_behind(make_bus, own_dsn, tmp_path, "archive", encryption=keys)
    bus = await run_another(make_bus, own_dsn, archive=tmp_path / "archive", encryption=keys)
    await until(lambda: stored(own_dsn) == ["holdfast.subscription.let_go"])
    await bus.close()
    (file,) = (tmp_path / "archive" / "billing").iterdir()
    assert '"n"' not in file.read_text()
    await command(own_dsn, "put-back", "--yes", str(file))
    bus, billed = make_bus(own_dsn, archive=tmp_path / "archive", encryption=keys), []
    bus.subscribe("order.*", lambda event: billed.append(event.payload), name="billing", behind_retention="archive")
    async with bus:
        await until(lambda: len(billed) == 3)
    assert billed == [{"n": number} for number in range(3)]


async def test_without_an_archive_nothing_can_be_declared_to_be_archived(make_bus):
    with pytest.raises(InvalidSubscription, match=r"archive=.* a folder"):
        make_bus("sqlite://").subscribe("order.*", print, name="billing", behind_retention="archive")


async def test_the_environment_names_the_archive(make_bus, monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDFAST_ARCHIVE", str(tmp_path))
    make_bus("sqlite://").subscribe("order.*", print, name="billing", behind_retention="archive")


@pytest.mark.parametrize("choice", ["keep", None, 1, True])
async def test_another_choice_is_refused(make_bus, choice):
    with pytest.raises(InvalidSubscription, match="'hold' or 'archive' or 'drop'"):
        make_bus("sqlite://").subscribe("order.*", print, name="billing", behind_retention=choice)


@pytest.mark.parametrize(
    "options", [{"archive": 1}, {"retention_warning": 5}, {"retention_warning": timedelta(days=31)}], ids=str
)
def test_settings_out_of_their_range_are_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        EventBus("sqlite://", **options)


@pytest.mark.parametrize("fails", [True, False])
async def test_a_worker_with_such_an_event_in_hand_goes_on_with_what_comes_later(own_dsn, make_bus, caplog, fails):
    gate, begun, handled = asyncio.Event(), list[int](), list[int]()
    busy = make_bus(own_dsn, lease_ttl=1)

    @busy.subscribe("order.*", name="billing", partitions=1, concurrency=1, behind_retention="drop")
    async def bill(event: Any) -> None:
        begun.append(event.payload["n"])
        if event.payload["n"] == 0:
            await gate.wait()
            if fails:
                raise RuntimeError("no")
        handled.append(event.payload["n"])

    for number in range(3):
        await busy.publish("order.placed", {"n": number}, key="order")
    for statement in aging(is_sqlite=own_dsn.startswith("sqlite"), schema="holdfast."):
        sql(own_dsn, statement)
    async with busy:
        await until(lambda: begun == [0])
        await run_another(make_bus, own_dsn)
        await until(lambda: stored(own_dsn) == ["holdfast.subscription.let_go"])
        await busy.publish("order.placed", {"n": 3}, key="order")
        await until(lambda: counts_of(busy).lost == 1)  # its lease went with the events
        gate.set()
        await until(lambda: 3 in handled)
        await busy.drain(10)
    assert handled in ([3], [0, 3])
    assert sql(own_dsn, "select count(*) from deliveries") == [(0,)]
    assert not [record for record in caplog.records if record.levelname == "CRITICAL"]
