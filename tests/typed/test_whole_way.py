"""From the value that is published to the value that a handler is given, with every kind of type, on both stores."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import Delivery, Event
from holdfast.errors import InvalidEvent
from holdfast.tracing import NoTracing

from .shop import (
    ID,
    PAID,
    PLACED,
    SECRET,
    SEEN,
    SENT,
    WHEN,
    Colour,
    Item,
    OrderPaid,
    OrderPlaced,
    OrderSeen,
    OrderSent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import EventBus, SyncEventBus


async def test_a_handler_is_given_what_was_published(make_bus: Callable[..., EventBus], dsn: str) -> None:
    bus, got = make_bus(dsn), dict[str, Any]()

    @bus.subscribe(OrderPlaced, name="placed")
    async def placed(order: OrderPlaced) -> None:
        got["placed"] = order

    @bus.subscribe("typed.order.paid", name="paid")
    def paid(paid: OrderPaid) -> None:
        got["paid"] = (paid, threading.current_thread() is not threading.main_thread())

    @bus.subscribe(OrderSent, name="sent")
    async def sent(sent: OrderSent, delivery: Delivery) -> None:
        got["sent"] = (sent, delivery.event.name, delivery.event.key)

    @bus.subscribe([OrderSeen], name="seen", batch=10)
    async def seen(seen: list[OrderSeen]) -> None:
        got["seen"] = seen

    for value in (PLACED, PAID, SENT):
        await bus.publish(value)
    await bus.publish(OrderSeen, SEEN)
    await bus.drain(timeout=10)
    assert got == {
        "placed": PLACED,
        "paid": (PAID, True),
        "sent": (SENT, "typed.order.sent", str(ID)),
        "seen": [SEEN],
    }


async def test_what_is_stored_is_an_event_like_any_other(make_bus: Callable[..., EventBus], dsn: str) -> None:
    bus, got = make_bus(dsn), list[Event]()

    @bus.subscribe("typed.**", name="all", partitions=1, concurrency=1)
    async def collect(event: Event) -> None:
        got.append(event)

    await bus.publish_many([PLACED, PAID, SENT, {"name": OrderSeen, "payload": SEEN, "headers": {"actor": "bob"}}])
    await bus.drain(timeout=10)
    placed, paid, sent, seen = got
    assert (placed.name, placed.key, placed.tenant_id) == ("typed.order.placed", "1", "acme")
    assert dict(placed.headers) == {"event_version": "2"}
    assert placed.payload == {
        "order_id": 1, "shop": "acme", "items": [{"sku": "a-1", "price": "19.90"}], "placed_at": WHEN.isoformat(),
        "colour": "blue", "notes": {"7": "seven"},
    }  # fmt: skip
    assert (paid.payload, paid.key) == ({"orderId": str(ID), "amount": 1990, "paidBy": "cash"}, f"order-{ID}")
    assert (sent.payload["orderId"], sent.payload["to"]) == (str(ID), [{"street": "Rua", "number": 3}])
    assert (seen.payload, dict(seen.headers)) == (
        {"order_id": "o-1", "at": WHEN.isoformat()},
        {"event_version": "1", "actor": "bob"},
    )


def test_the_bus_for_threads_does_the_same(sync_bus: SyncEventBus) -> None:
    got = list[Any]()

    @sync_bus.subscribe(OrderPaid, name="paid")
    def handle(paid: OrderPaid, delivery: Delivery) -> None:
        got.append((paid, delivery.event.key))

    sync_bus.publish(PAID, key="mine")
    sync_bus.publish_many([PAID])
    with pytest.raises(InvalidEvent, match=r"payload\.amount"):
        sync_bus.publish(OrderPaid(ID, -1))
    sync_bus.drain(timeout=10)
    assert sorted(got, key=lambda one: one[1]) == [(PAID, "mine"), (PAID, f"order-{ID}")]


@pytest.mark.parametrize(
    ("published", "field"),
    [
        (lambda: (OrderPlaced(1, "acme", [Item(5, "x")], WHEN),), "payload.items[0].sku"),
        (lambda: (OrderPlaced(1, "acme", [], WHEN, "green"),), "payload.colour"),
        (lambda: (OrderPlaced(1, "acme", [], WHEN.replace(tzinfo=None)),), "payload.placed_at"),
        (lambda: (OrderPlaced(2**64, "acme", [], WHEN),), "payload.order_id"),
        (lambda: (OrderPlaced(1, "acme", [], WHEN, notes={1: object()}),), "payload"),
        (lambda: (OrderPaid(ID, 0),), "payload.amount"),
        (lambda: (OrderPaid(ID, 1, "barter"),), "payload.paidBy"),
        (lambda: (OrderSent.model_construct(order_id=ID, to=[], sent_at=WHEN, email="nobody"),), "payload.email"),
        (lambda: (OrderSent.model_construct(order_id=ID, to=[], sent_at=object()),), "payload"),
        (lambda: (OrderSent.model_construct(order_id=ID, to=[{"street": 1}], sent_at=WHEN),), "payload.to[0].street"),
        (lambda: (OrderSeen, {"order_id": "o-1", "at": "soon"}), "payload.at"),
        (lambda: (OrderSeen, {"at": WHEN}), "payload"),
        (lambda: (OrderSeen, [1]), "payload"),
        (lambda: (OrderSeen, None), "payload"),
        (lambda: (OrderPlaced, {"order_id": 1}), "payload"),
        (lambda: (PAID, {"order_id": 1}), "payload"),
        (lambda: (OrderPlaced(1, "", [], WHEN),), "tenant_id"),
    ],
)  # fmt: skip
async def test_an_invalid_value_is_refused_with_its_path_and_nothing_is_stored(
    make_bus: Callable[..., EventBus], published: Any, field: str
) -> None:
    bus, got = make_bus(), list[Event]()
    bus.subscribe("**", lambda event: got.append(event), name="all")
    with pytest.raises(InvalidEvent) as refused:
        await bus.publish(*published())
    assert (refused.value.field, refused.value.index) == (field, None)
    name, *payload = published()
    with pytest.raises(InvalidEvent) as refused:
        await bus.publish_many([PAID, {"name": name, "payload": payload[0] if payload else None}])
    assert (refused.value.field, refused.value.index) == (field, 1)
    await bus.drain(timeout=10)
    assert got == []


async def test_no_error_says_what_stood_in_the_payload(make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus()
    for value in (
        OrderPlaced(1, "acme", [], WHEN, SECRET),
        OrderPaid(SECRET, 1, SECRET),
        OrderSent.model_construct(order_id=ID, to=[], sent_at=WHEN, email=SECRET.replace("@", "#")),
    ):
        with pytest.raises(InvalidEvent) as refused:
            await bus.publish(value)
        assert "ann" not in str(refused.value)
        assert refused.value.__cause__ is None


async def test_what_is_given_to_publish_goes_before_the_fields(make_bus: Callable[..., EventBus]) -> None:
    bus, got = make_bus(), list[Any]()

    @bus.subscribe(OrderPlaced, name="placed")
    async def handle(order: OrderPlaced, delivery: Delivery) -> None:
        got.append((delivery.event.tenant_id, delivery.event.key, delivery.event.occurred_at))

    await bus.publish(PLACED, tenant_id="other", key="first", occurred_at=WHEN, headers={"event_version": "9"})
    await bus.drain(timeout=10)
    assert got == [("other", "first", WHEN)]


async def test_a_handlers_typed_event_has_the_tenant_of_its_cause_unless_it_has_its_own(
    make_bus: Callable[..., EventBus],
) -> None:
    bus, got = make_bus(), list[Any]()

    @bus.subscribe("begin", name="begin")
    async def begin(event: Event) -> None:
        await bus.publish(PAID)
        await bus.publish(PLACED)

    @bus.subscribe(["typed.order.paid", "typed.order.placed"], name="all", partitions=1, concurrency=1)
    async def collect(event: Event) -> None:
        got.append((event.name, event.tenant_id, event.headers["event_version"], event.causation_id is not None))

    await bus.publish("begin", tenant_id="zoo")
    await bus.drain(timeout=10)
    assert got == [("typed.order.paid", "zoo", "1", True), ("typed.order.placed", "acme", "2", True)]


class Told(NoTracing):
    """What somebody is told who follows events."""

    def __init__(self) -> None:
        self.names: list[Any] = []

    def publishing(self, name: str | None, cause: Delivery | None) -> Any:
        self.names.append(name)
        return super().publishing(name, cause)


async def test_who_follows_events_is_told_the_name_and_not_the_value(make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus()
    bus.tracing = told = Told()
    await bus.publish(PAID)
    await bus.publish(OrderSeen, SEEN)
    assert told.names == ["typed.order.paid", "typed.order.seen"]


async def test_a_value_of_a_subclass_is_none_of_the_type(make_bus: Callable[..., EventBus]) -> None:
    class Special(OrderPlaced):
        pass

    with pytest.raises(InvalidEvent) as refused:
        await make_bus().publish(Special(1, "acme", [], WHEN, Colour.RED))
    assert refused.value.field == "name"
    with pytest.raises(InvalidEvent, match="give a value of OrderPlaced"):
        await make_bus().publish(OrderPlaced, Special(1, "acme", [], WHEN))
