"""What a handler of a declared type is given, what it is not, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import json
import pickle
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import pytest

from holdfast import Delivery, Event, EventBus, Reject
from holdfast.errors import ConfigurationError, InvalidSubscription, MalformedEvent, PayloadLocked
from holdfast.integrations.resolving import resolving
from holdfast.stores.correcting import corrected
from holdfast.stores.records import DeadLetter
from holdfast.typed import HeldEvent, UndecodableEvent, event, handling, upcast
from holdfast.typed.handling import HOLD_SECONDS

from .shop import ID, PAID, PLACED, SECRET, SEEN, WHEN, OrderPaid, OrderPlaced, OrderSeen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

PLACED_V1 = {"order_id": 1, "shop": "acme", "item": {"sku": "a-1", "price": "19.90"}, "placed_at": WHEN.isoformat()}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


# ---- types and their handlers


async def test_one_handler_takes_several_types_by_their_names(make_bus: Any) -> None:
    bus, got = make_bus(), list[Any]()

    @bus.subscribe("typed.order.*", name="all", partitions=1, concurrency=1, unknown="skip")
    async def handle(order: OrderPlaced | OrderPaid) -> None:
        got.append(order)

    await bus.publish_many([PLACED, {"name": OrderSeen, "payload": SEEN}, PAID])
    await bus.drain(timeout=10)
    assert got == [PLACED, PAID]


async def test_a_batch_leaves_out_what_is_skipped_and_its_deliveries_too(make_bus: Any) -> None:
    bus, got = make_bus(), list[Any]()

    @bus.subscribe(["typed.order.*"], name="async", batch=10, partitions=1, unknown="skip")
    async def handle(paid: list[OrderPaid], deliveries: list[Delivery]) -> None:
        got.append(([one.amount for one in paid], [one.event.key for one in deliveries]))

    @bus.subscribe(["typed.order.*"], name="plain", batch=10, partitions=1, unknown="skip")
    def handle_too(paid: list[OrderPaid]) -> None:
        got.append([one.amount for one in paid])

    seen = {"name": OrderSeen, "payload": SEEN}
    await bus.publish_many([seen, OrderPaid(ID, 1), seen, OrderPaid(ID, 2)])
    await bus.publish_many([seen, seen])
    await bus.drain(timeout=10)
    assert sorted(got, key=str) == [([1, 2], [f"order-{ID}"] * 2), [1, 2]]


async def test_a_batch_is_cut_down_to_the_member_that_cannot_be_decoded(make_bus: Any) -> None:
    bus, got = make_bus(), list[int]()

    @bus.subscribe(OrderPaid, name="paid", batch=10, partitions=1)
    async def handle(paid: list[OrderPaid]) -> None:
        got.extend(one.amount for one in paid)

    bad = {"name": "typed.order.paid", "payload": {"amount": 5}}
    await bus.publish_many([OrderPaid(ID, 1), bad, OrderPaid(ID, 2)])
    await bus.drain(timeout=10)
    assert sorted(got) == [1, 2]


async def test_a_transactional_handler_writes_on_the_deliverys_connection(make_bus: Any, sqlite_dsn: str) -> None:
    bus, got = make_bus(sqlite_dsn), list[Any]()

    @bus.subscribe(OrderPaid, name="paid", transactional=True)
    def handle(paid: OrderPaid, delivery: Delivery) -> None:
        got.extend(delivery.connection.execute("select ?", [paid.amount]).fetchone())

    await bus.publish(PAID)
    await bus.drain(timeout=10)
    assert got == [PAID.amount]


def test_a_handler_of_events_is_called_as_it_is(make_bus: Any) -> None:
    async def handle(event: Event) -> None: ...

    bus = make_bus()
    for name, patterns in (("by name", "typed.order.paid"), ("by type", OrderPaid)):
        bus.subscribe(patterns, handle, name=name.replace(" ", "-"))
    assert [(one.called is handle, one.types, one.patterns) for one in bus.consumers] == [
        (True, (), ("typed.order.paid",))
    ] * 2


class Scopes:
    """What dependencies come from: the text that says of which event they are."""

    serves_plain = True

    @contextmanager
    def scope(self, context: dict[Any, Any]) -> Iterator[Callable[[Any], Any]]:
        yield lambda kind: kind(context[Event].name)

    @asynccontextmanager
    async def async_scope(self, context: dict[Any, Any]) -> AsyncIterator[Callable[[Any], Any]]:
        async def get(kind: Any) -> Any:
            return kind(context[Event].name)

        yield get


class Mailer(str):
    __slots__ = ()


async def test_what_stands_round_handlers_has_the_event_and_gives_them_what_they_ask_for(make_bus: Any) -> None:
    bus, got = make_bus(around=resolving(Scopes())), list[Any]()

    @bus.subscribe(OrderPaid, name="async")
    async def handle(paid: OrderPaid, mailer: Mailer, delivery: Delivery) -> None:
        got.append((paid, mailer, delivery.attempt))

    @bus.subscribe(OrderPaid, name="plain")
    def handle_too(paid: OrderPaid, mailer: Mailer) -> None:
        got.append((paid, mailer, 1))

    await bus.publish(PAID)
    await bus.drain(timeout=10)
    assert got == [(PAID, "typed.order.paid", 1)] * 2


class Handler:
    def __init__(self) -> None:
        self.got: list[Any] = []

    async def __call__(self, paid: Annotated[OrderPaid, "as it is"]) -> None:
        self.got.append(paid)

    def method(self, paid: OrderPaid, delivery: Delivery) -> None:
        self.got.append((paid, delivery.subscription))


async def test_objects_and_methods_are_handlers_too(make_bus: Any) -> None:
    bus, handler = make_bus(), Handler()
    bus.subscribe(OrderPaid, handler, name="object")
    bus.subscribe(OrderPaid, handler.method, name="method")
    await bus.publish(PAID)
    await bus.drain(timeout=10)
    assert sorted(handler.got, key=str) == [(PAID, "method"), PAID]


# ---- older and newer versions


async def test_an_older_event_is_brought_up_and_one_without_a_version_is_of_the_first(make_bus: Any, dsn: str) -> None:
    bus, got = make_bus(dsn), list[Any]()

    @bus.subscribe("typed.order.placed", name="placed")
    async def handle(order: OrderPlaced, delivery: Delivery) -> None:
        got.append((order.items, "item" in delivery.event.payload))

    await bus.publish("typed.order.placed", PLACED_V1)
    await bus.publish("typed.order.placed", PLACED_V1, headers={"event_version": "1"})
    await bus.drain(timeout=10)
    assert got == [(PLACED.items, True)] * 2


async def test_an_event_that_cannot_be_decoded_is_dead_at_once_and_says_why(
    make_bus: Any, dsn: str, detail: Any
) -> None:
    bus = make_bus(dsn)

    @bus.subscribe(OrderPlaced, name="placed")
    async def handle(order: OrderPlaced) -> None:
        raise AssertionError("it must not be called")

    event_id = uuid4()
    payload = PLACED_V1 | {"item": {"sku": "a-1", "price": SECRET}}
    await bus.publish("typed.order.placed", payload, event_id=event_id)
    await bus.drain(timeout=10)
    (delivery,) = (await detail(dsn, event_id)).deliveries
    said = (
        f"UndecodableEvent: payload.items[0].price of event {event_id} (typed.order.placed, version 1) is not as its type "
        f"says: invalid decimal string"
    )
    assert (delivery.state, delivery.attempts, delivery.reason) == ("dead", 1, said)
    (attempt,) = delivery.history
    assert (attempt.outcome, SECRET in attempt.message + (attempt.traceback or "")) == ("unreadable", False)


@pytest.mark.parametrize(
    ("headers", "payload", "path", "problem"),
    [
        ({"event_version": "two"}, {}, "headers.event_version", "is 'two', and no version"),
        ({"event_version": "0"}, {}, "headers.event_version", "is '0', and no version"),
        ({"event_version": "2"}, [], "payload", "expected `object`, got `array`"),
        ({"event_version": "1"}, [], "payload", "is no object, which upcasters take"),
        ({}, {"order_id": 1}, "payload", r"made the upcaster from version 1 raise KeyError at line \d+ of shop.py"),
    ],
)
def test_the_error_names_the_event_its_version_and_the_path(
    headers: dict[str, str], payload: Any, path: str, problem: str
) -> None:
    stored = Event.build("typed.order.placed", payload, event_id=ID, headers=headers)
    with pytest.raises(UndecodableEvent, match=problem) as failed:
        handling.Reader([OrderPlaced.__holdfast_event__], "hold")(stored)
    error = failed.value
    assert (error.event_id, error.name, error.path) == (ID, "typed.order.placed", path)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert isinstance(error, MalformedEvent)


async def test_a_newer_event_is_held_without_an_attempt_and_its_key_waits(make_bus: Any, dsn: str, detail: Any) -> None:
    bus, got = make_bus(dsn), list[Any]()

    @bus.subscribe(OrderPaid, name="paid")
    async def handle(paid: OrderPaid) -> None:
        got.append(paid.amount)

    newer, later = uuid4(), uuid4()
    await bus.publish("typed.order.paid", {}, key=f"order-{ID}", headers={"event_version": "2"}, event_id=newer)
    await bus.publish(OrderPaid(ID, 2), event_id=later)
    await bus.publish(OrderPaid(ID, 3), key="another")
    async with bus:

        async def is_held() -> bool:
            found = (await detail(dsn, later)).deliveries
            return bool(found) and found[0].held_behind == newer

        await until(is_held)
    (delivery,) = (await detail(dsn, newer)).deliveries
    assert (delivery.state, delivery.attempts, delivery.put_offs, got) == ("retrying", 0, 1, [3])
    assert delivery.next_try_at is not None
    waits = delivery.next_try_at - datetime.now(UTC)
    assert timedelta(seconds=HOLD_SECONDS - 60) < waits <= timedelta(seconds=HOLD_SECONDS)
    assert "its version is 2, and versions 1 are known here" in delivery.reason


@pytest.mark.parametrize(("unknown", "states"), [("skip", []), ("dead", ["dead", "dead"])])
async def test_newer_versions_and_other_names_are_skipped_or_dead_by_choice(
    make_bus: Any, sqlite_dsn: str, detail: Any, unknown: Any, states: list[str]
) -> None:
    bus, got = make_bus(sqlite_dsn), list[Any]()

    @bus.subscribe("typed.order.*", name="paid", unknown=unknown)
    async def handle(paid: OrderPaid) -> None:
        got.append(paid)

    ids = [uuid4(), uuid4()]
    await bus.publish("typed.order.paid", {}, headers={"event_version": "2"}, event_id=ids[0])
    await bus.publish(OrderSeen, SEEN, event_id=ids[1])
    await bus.publish(PAID)
    await bus.drain(timeout=10)
    found = [one for event_id in ids for one in (await detail(sqlite_dsn, event_id)).deliveries]
    assert (got, [one.state for one in found if one.state != "processed"]) == ([PAID], states)


def test_a_reader_says_what_it_does_not_know() -> None:
    declared = OrderPaid.__holdfast_event__
    other = Event.build("typed.order.lost", {}, event_id=ID)
    with pytest.raises(HeldEvent, match=rf"typed\.order\.lost {ID}: the handler takes typed\.order\.paid") as held:
        handling.Reader([declared], "hold")(other)
    assert held.value.after == HOLD_SECONDS
    assert str(pickle.loads(pickle.dumps(held.value))) == str(held.value)
    with pytest.raises(Reject, match="the handler takes"):
        handling.Reader([declared], "dead")(other)


def test_an_event_older_than_the_oldest_is_unknown(nothing_declared: None) -> None:
    declare("kept", version=3, oldest=3)
    with pytest.raises(HeldEvent, match="its version is 2, and versions 3 to 3 are known here"):
        handling.Reader([Kept.__holdfast_event__], "hold")(
            Event.build("kept", {}, event_id=ID, headers={"event_version": "2"})
        )


async def test_an_erased_event_is_settled_without_a_call(make_bus: Any) -> None:
    bus, got = make_bus(), list[Any]()

    @bus.subscribe(OrderPaid, name="paid")
    async def handle(paid: OrderPaid) -> None:
        got.append(paid)

    await bus.publish("typed.order.paid", b'{"holdfast.erased":true}')
    await bus.drain(timeout=10)
    assert got == []


def test_an_encrypted_event_without_its_key_is_no_bad_payload() -> None:
    stored = Event.build("typed.order.paid", {"holdfast.encrypted": "AAAA"}, event_id=ID)
    with pytest.raises((PayloadLocked, MalformedEvent)) as failed:
        handling.Reader([OrderPaid.__holdfast_event__], "hold")(stored)
    assert not isinstance(failed.value, UndecodableEvent)


def test_an_event_that_corrects_another_is_of_its_version() -> None:
    letter = DeadLetter(
        1, "paid", ID, "typed.order.placed", "acme", None, 1, 0, None, None, None, WHEN, WHEN, {}, {"event_version": "2"}
    )  # fmt: skip
    headers = json.loads(corrected(letter, {"order_id": 1}, "bob", limit=1000).headers or b"{}")
    assert headers["event_version"] == "2"


# ---- the chain, at the start


@dataclass
class Kept:
    """A type whose versions tests choose."""


def declare(name: str, *, version: int, oldest: int = 1, steps: tuple[int, ...] = ()) -> None:
    event(name, version=version, oldest=oldest)(Kept)
    for step in steps:
        upcast(name, from_version=step)(lambda payload: payload)


async def handle_kept(kept: Kept) -> None: ...


async def migrated(bus: EventBus) -> None:
    [consumer.declaration for consumer in bus.consumers]


@pytest.mark.parametrize("begins", [EventBus.__aenter__, EventBus.drain, migrated, lambda bus: bus.publish("a")])
async def test_a_gap_between_versions_is_told_before_anything_runs(
    make_bus: Any, nothing_declared: None, begins: Any
) -> None:
    declare("kept", version=4, steps=(1, 3))
    bus = make_bus()
    bus.subscribe("kept", handle_kept, name="kept")
    with pytest.raises(
        ConfigurationError, match=r"kept, version 4: no upcaster leads from version 2 to 3; write @upcast"
    ):
        await begins(bus)
    upcast("kept", from_version=2)(lambda payload: payload)
    await begins(bus)


@pytest.mark.parametrize(
    ("steps", "oldest", "said"),
    [
        ((), 1, "from version 1 to 2 and from version 2 to 3"),
        ((2,), 1, "from version 1 to 2;"),
        ((2,), 2, None),
        ((), 3, None),
        ((1, 2, 3), 1, "an upcaster leads from version 3 to 4: let @event say version="),
    ],
)
def test_the_chain_leads_from_the_oldest_version_to_the_present_one(
    nothing_declared: None, steps: tuple[int, ...], oldest: int, said: str | None
) -> None:
    declare("kept", version=3, oldest=oldest, steps=steps)
    declared = Kept.__holdfast_event__
    if said is None:
        declared.require_chain()
    else:
        with pytest.raises(ConfigurationError, match=said):
            declared.require_chain()


# ---- what is refused when it is declared


async def takes_paid(paid: OrderPaid) -> None: ...
async def takes_list(paid: list[OrderPaid]) -> None: ...
async def takes_event(event: Event) -> None: ...
async def takes_anything(paid) -> None: ...
async def takes_none_too(paid: OrderPaid | None) -> None: ...
async def takes_unreadable(paid: Unreadable) -> None: ...  # noqa: F821


@pytest.mark.parametrize(
    ("patterns", "handler", "options", "said"),
    [
        (OrderPlaced, takes_paid, {}, "takes typed.order.paid, and is subscribed to typed.order.placed"),
        ("typed.order.*", takes_paid, {}, r"unknown is not given, and typed.order.\* may bring more"),
        (OrderPaid, takes_paid, {"unknown": "keep"}, "unknown is 'keep'; use 'skip', 'hold' or 'dead'"),
        ("typed.order.paid", takes_event, {"unknown": "skip"}, "takes every event as it is"),
        (OrderPaid, takes_anything, {}, "does not say what it takes"),
        (OrderPaid, takes_none_too, {}, "takes a declared event or something else"),
        (OrderPaid, takes_list, {}, "takes a list, without batch="),
        (OrderPaid, takes_paid, {"batch": 2}, "takes one event, with batch="),
        (OrderPaid, takes_unreadable, {}, "takes a 'Unreadable', which cannot be read here"),
        ("typed.order.paid", takes_unreadable, {"unknown": "skip"}, "takes a 'Unreadable', which cannot be read here"),
        (dict, takes_event, {}, "is a function"),
    ],
)
def test_a_handler_that_does_not_suit_is_refused(
    make_bus: Any, patterns: Any, handler: Any, options: Any, said: str
) -> None:
    with pytest.raises(InvalidSubscription, match=said):
        make_bus().subscribe(patterns, handler, name="s", **options)


def test_a_type_that_only_checkers_see_says_nothing_where_no_type_is_asked_for(make_bus: Any) -> None:
    bus = make_bus()
    bus.subscribe("typed.order.paid", takes_unreadable, name="s")
    assert [one.called for one in bus.consumers] == [takes_unreadable]


def test_a_class_within_a_function_is_known_by_the_subscription(make_bus: Any) -> None:
    class Local(OrderPaid):
        pass

    event("typed.local")(Local)
    bus = make_bus()

    @bus.subscribe(Local, name="local")
    async def handle(one: Local) -> None: ...

    assert [one.types[0].name for one in bus.consumers] == ["typed.local"]
