"""The bus of a program, lent to a test: the same object, on another store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from holdfast import Event, EventBus, SyncEventBus
from holdfast.errors import BusStateError, ConfigurationError
from holdfast.ports import BackgroundLoop
from holdfast.testing import stage
from holdfast.testing.staging import bus_at

if TYPE_CHECKING:
    from pathlib import Path


def shop(dsn: str) -> EventBus:
    """A bus whose handlers publish to it by its name, as those of a program do."""
    bus = EventBus(dsn)

    async def confirm(event: Event) -> None:
        await bus.publish("order.confirmed", event.payload, key=event.key)

    async def send_receipt(event: Event) -> None:
        await bus.publish("receipt.sent", event.payload)

    bus.subscribe("order.placed", confirm, name="confirm")
    bus.subscribe("order.confirmed", send_receipt, name="receipts")
    return bus


def test_handlers_publish_to_the_tests_store_and_the_programs_own_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    bus = shop(f"sqlite:///{own}")
    with stage(bus) as staged:

        async def test() -> None:
            assert staged.bus is bus
            await bus.publish("order.placed", {"order_id": 1})
            await bus.drain(timeout=10)

        asyncio.run(test())
        assert staged.published.names == ["order.placed", "order.confirmed", "receipt.sent"]
    assert bus.dsn == f"sqlite:///{own}"
    assert not own.exists()

    async def work() -> int:
        async with bus:
            await bus.publish("order.placed", {"order_id": 2})
            await bus.drain(timeout=10)
            assert bus.counts is not None
            return bus.counts.subscriptions["receipts"].counts.delivered

    assert asyncio.run(work()) == 1
    assert own.exists()


def test_what_is_subscribed_on_the_stage_is_gone_afterwards() -> None:
    bus = shop("sqlite://")
    (confirm, _) = bus.consumers
    with stage(bus):
        bus.subscribe("order.moved", confirm.handler, name="confirm")

        def extra(event: Event) -> None: ...

        bus.subscribe("order.*", extra, name="extra")
        assert [(one.name, one.patterns) for one in bus.consumers] == [
            ("confirm", ("order.placed", "order.moved")),
            ("receipts", ("order.confirmed",)),
            ("extra", ("order.*",)),
        ]
    assert [(one.name, one.patterns) for one in bus.consumers] == [
        ("confirm", ("order.placed",)),
        ("receipts", ("order.confirmed",)),
    ]


def test_nothing_goes_to_a_broker_and_nothing_comes_from_one() -> None:
    bus = shop("sqlite://")
    bus.relay("order.*", "nats://broker.invalid/orders", name="out")
    bus.ingest("nats://broker.invalid/payments", name="in")
    with stage(bus) as staged:

        async def test() -> None:
            await bus.publish("order.placed", {})
            await bus.drain(timeout=10)

        asyncio.run(test())
        assert [one.name for one in bus.consumers] == ["confirm", "receipts"]
        assert len(staged.published) == 3
    assert [one.name for one in bus.consumers] == ["confirm", "receipts", "out"]
    assert (list(bus.relays), list(bus.ingests)) == (["out"], ["in"])


async def test_a_bus_that_is_at_work_is_refused() -> None:
    bus = shop("sqlite://")
    async with bus:
        with pytest.raises(BusStateError, match="at work on its own store"), stage(bus):
            raise AssertionError


async def test_a_stage_that_is_left_in_its_loop_wants_the_bus_closed_before() -> None:
    bus = shop("sqlite://")
    with pytest.raises(BusStateError, match=r"await bus.close\(\)"), stage(bus):
        await bus.publish("order.placed", {})
    await bus.close()
    with stage(bus) as staged:
        await bus.publish("order.placed", {})
        await bus.close()
    assert staged.published.names == ["order.placed"]


def test_the_bus_of_threads() -> None:
    bus, handled = SyncEventBus("sqlite://"), list[int]()

    def handle(event: Event) -> None:
        handled.append(event.payload["n"])

    bus.subscribe("order.placed", handle, name="plain")
    with stage(bus) as staged:
        assert staged.require_threaded() is bus
        bus.publish("order.placed", {"n": 1})
        bus.drain(timeout=10)
        staged.published.assert_one("order.placed", n=1)
    assert handled == [1]
    with stage(EventBus("sqlite://")) as staged, pytest.raises(ConfigurationError, match="make the test async"):
        staged.require_threaded()


def test_the_loop_of_a_test_may_be_closed_or_stand_still_when_the_stage_is_left() -> None:
    bus = shop("sqlite://")
    with asyncio.Runner() as runner:
        with stage(bus) as staged:
            runner.run(bus.publish("order.placed", {"order_id": 1}))
            runner.run(bus.drain(timeout=10))
        assert len(staged.published) == 3
        assert not asyncio.all_tasks(runner.get_loop())
    with stage(bus) as staged:
        asyncio.run(bus.publish("order.placed", {"order_id": 2}))
        staged.published.assert_one("order.placed", order_id=2)


def test_an_application_that_works_in_a_thread_of_its_own() -> None:
    bus, application = shop("sqlite://"), BackgroundLoop("application")
    with stage(bus) as staged:
        application.run(bus.__aenter__())
        application.run(bus.publish("order.placed", {"order_id": 1}))
        application.run(bus.drain(timeout=10))
        staged.published.assert_one("receipt.sent", order_id=1)
    assert bus.counts is None, "it was closed where it worked"
    staged.published.assert_one("receipt.sent", order_id=1)
    application.close()


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_another_store_than_memory(kind: str, request: pytest.FixtureRequest) -> None:
    dsn: str = request.getfixturevalue("sqlite_dsn" if kind == "file" else "emptied_dsn")
    bus = shop("sqlite://")

    async def publish(number: int) -> None:
        await bus.publish("order.placed", {"order_id": number}, key="ü")
        await bus.drain(timeout=20)

    with stage(bus, dsn) as staged:
        assert bus.dsn == dsn
        asyncio.run(publish(1))
        staged.published.assert_one("receipt.sent", order_id=1)
        assert staged.published.assert_one("order.placed").key == "ü"
        if kind == "postgresql":
            with pytest.raises(ConfigurationError, match="server's own and cannot be moved"):
                staged.clock.advance(2)
    if kind == "postgresql":
        with stage(bus, dsn) as staged:
            assert staged.published.names == [], "what was there before was not published in this test"
            asyncio.run(publish(2))
            staged.published.assert_one("order.placed", order_id=2)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no_such_module:bus", "there is no module 'no_such_module'"),
        ("holdfast.testing.staging:nothing", "has no attribute 'nothing'"),
        ("holdfast.testing.staging:stage", "of type function and no bus"),
        ("not a name", "there is no module 'not a name'"),
        (":bus", "write MODULE:BUS"),
    ],
)
def test_a_bus_that_is_not_there_is_told(place: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        bus_at(place)


async def test_what_was_published_for_later_and_a_schedule_come_due_as_the_clock_says():
    bus, seen = EventBus("sqlite:///nowhere/shop.db"), []
    bus.subscribe("order.reminder", lambda event: seen.append(event.name), name="reminders")
    bus.every(timedelta(days=1), lambda event: seen.append(event.name), name="daily")
    with stage(bus) as staged:
        staged.clock.advance(30 * 86_400)
        await bus.publish("order.reminder", delay=3600)
        await bus.drain(10)
        staged.clock.advance(1800)
        await bus.drain(10)
        assert "order.reminder" not in seen
        staged.clock.advance(1801)
        await bus.drain(10)
        assert seen.count("order.reminder") == 1
        staged.clock.advance(86_400)
        async with asyncio.timeout(10):
            while "schedule.daily" not in seen:
                await bus.drain(10)
        await bus.close()
