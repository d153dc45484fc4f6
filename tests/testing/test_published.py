"""What a test says of the events that were published, and what it is told when it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY
from uuid import UUID

import pytest

from holdfast import Delivery, Event, Reject
from holdfast.errors import InvalidSubscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import EventBus
    from holdfast.testing import PublishedEvents

ID = UUID("0197d3c8-2b6e-7c3a-8d54-f1a2b3c4d5e6")


def failure_of(assertion: Callable[..., object], *arguments: Any, **fields: Any) -> str:
    with pytest.raises(AssertionError) as failed:
        assertion(*arguments, **fields)
    return str(failed.value)


async def test_one_event_is_found_by_its_name_and_by_some_of_its_fields(
    bus: EventBus, published: PublishedEvents
) -> None:
    first = await bus.publish("order.placed", {"order_id": 1, "total": 9}, key="order-1")
    await bus.publish("order.placed", {"order_id": 2, "total": 9})
    event = published.assert_one("order.placed", order_id=1)
    assert (event.id, event.key, event.payload) == (first.event_id, "order-1", {"order_id": 1, "total": 9})
    assert published.assert_one("order.*", order_id=2, total=9).payload["order_id"] == 2
    assert [event.payload["order_id"] for event in published.assert_count(2, "**", total=9)] == [1, 2]
    published.assert_none("order.placed", order_id=3)
    published.assert_none("order.cancelled")


async def test_events_are_listed_in_the_order_of_the_log(bus: EventBus, published: PublishedEvents) -> None:
    assert (published.events(), published.names, len(published)) == ([], [], 0)
    for name in ("order.placed", "order.paid", "receipt.sent"):
        await bus.publish(name, {"name": name})
    assert published.names == ["order.placed", "order.paid", "receipt.sent"]
    assert [event.name for event in published.events("order.*")] == ["order.placed", "order.paid"]
    assert [event.name for event in published.events("receipt.*", "order.paid")] == ["order.paid", "receipt.sent"]
    with pytest.raises(InvalidSubscription, match="empty segment"):
        published.events("order..placed")


async def test_values_are_compared_as_they_are_and_as_they_were_stored(
    bus: EventBus, published: PublishedEvents
) -> None:
    moment = datetime(2030, 1, 2, tzinfo=UTC)
    await bus.publish(
        "order.placed", {"id": ID, "at": moment, "total": Decimal("9.50"), "lines": [1, 2], "pattern": "a"}
    )
    for fields in ({"id": ID}, {"id": str(ID)}, {"at": moment}, {"total": Decimal("9.50")}, {"lines": (1, 2)}):
        published.assert_one("order.placed", **fields)
    published.assert_one("order.placed", id=ANY, pattern="a")
    published.assert_none("order.placed", total=Decimal("9.5"))


async def test_a_failure_shows_near_misses_first_and_how_they_differ(bus: EventBus, published: PublishedEvents) -> None:
    await bus.publish("receipt.sent", {"order_id": 2})
    await bus.publish("order.placed", {"order_id": 1})
    await bus.publish("order.placed", {"customer": "ada"})
    await bus.publish("order.placed", [1])
    assert failure_of(published.assert_one, "order.placed", order_id=2).splitlines() == [
        '"order.placed" with order_id=2 was not published',
        "",
        "published:",
        "  order.placed  {'order_id': 1}   (order_id is 1)",
        "  order.placed  {'customer': 'ada'}   (order_id is missing)",
        "  order.placed  [1]   (the payload is [1], which has no fields)",
        "  receipt.sent  {'order_id': 2}",
    ]
    assert failure_of(published.assert_one, "order.placed").startswith('"order.placed" was published 3 times, not once')
    assert failure_of(published.assert_count, 2, "receipt.*").startswith('"receipt.*" was published once, not 2 times')
    assert failure_of(published.assert_none, "receipt.sent", order_id=2).startswith(
        '"receipt.sent" with order_id=2 was published once, and was not to be'
    )
    assert failure_of(published.assert_none).startswith("any event was published 4 times, and was not to be")


async def test_a_misspelt_name_is_told(bus: EventBus, published: PublishedEvents) -> None:
    assert failure_of(published.assert_one, "order.placed") == (
        '"order.placed" was not published; nothing was published at all'
    )
    await bus.publish("order.placed", {})
    assert 'did you mean "order.placed"?' in failure_of(published.assert_one, "order.plcaed")


async def test_of_many_events_the_first_are_shown(bus: EventBus, published: PublishedEvents) -> None:
    await bus.publish_many([{"name": "a.b", "payload": {"n": "x" * 200}} for _ in range(23)])
    lines = failure_of(published.assert_one, "a.b").splitlines()
    assert lines[-1] == "  ... and 3 events more"
    assert max(map(len, lines)) < 120


async def test_what_was_rolled_back_was_not_published(bus: EventBus, published: PublishedEvents) -> None:
    async def hand_on(event: Event, delivery: Delivery) -> None:
        await bus.publish("order.confirmed", event.payload)
        if event.payload["order_id"] == 2:
            raise Reject("sold out")

    bus.subscribe("order.placed", hand_on, name="hand-on", transactional=True)
    await bus.publish("order.placed", {"order_id": 1})
    await bus.publish("order.placed", {"order_id": 2})
    await bus.drain(timeout=10)
    published.assert_one("order.confirmed", order_id=1)
    published.assert_none("order.confirmed", order_id=2)
    published.assert_one("holdfast.delivery.dead")


async def test_events_can_be_looked_at_when_the_bus_is_closed(bus: EventBus, published: PublishedEvents) -> None:
    async with bus:
        await bus.publish("order.placed", {"order_id": 1})
    published.assert_one("order.placed", order_id=1)
    async with bus:
        await bus.publish("order.placed", {"order_id": 2})
        assert published.names == ["order.placed", "order.placed"]
    assert [event.payload["order_id"] for event in published.events()] == [1, 2]
