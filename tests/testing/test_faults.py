"""What each fault does to a handler, and that the engine does it: receipts, epochs, transactions."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import Delivery, Event, EventBus
from holdfast.testing import stage
from holdfast.testing.faults import KINDS, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STRIKING = ["duplicate", "crash", "lost-connection"]


class Handled:
    """What handlers did: (subscription, number of the event, attempt, epoch), in the order in which they ended."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, int, int]] = []

    def note(self, event: Event, delivery: Delivery) -> None:
        self.calls.append((delivery.subscription, event.payload["n"], delivery.attempt, delivery.epoch))

    def numbers(self, name: str) -> list[Any]:
        return [number for subscription, number, *_ in self.calls if subscription == name]


@pytest.fixture
def handled() -> Handled:
    return Handled()


def asynchronous(handled: Handled) -> Callable[..., Any]:
    async def handle(event: Event, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        handled.note(event, delivery)

    return handle


def plain(handled: Handled) -> Callable[..., Any]:
    return handled.note


@contextmanager
def under(kind: str, *, only: set[str] | None = None) -> Iterator[tuple[EventBus, Faults]]:
    bus, faults = EventBus("sqlite://"), Faults(kind, only=only)
    with stage(bus, faults=faults):
        yield bus, faults


def publish_and_drain(bus: EventBus, numbers: list[int], *, key: str | None = None) -> list[tuple[str, int]]:
    """Returns (subscription, events with a receipt)."""

    async def work() -> list[tuple[str, int]]:
        await bus.publish_many([{"name": "order.placed", "payload": {"n": n}, "key": key} for n in numbers])
        await bus.drain(timeout=20)
        store = (await bus.open()).store
        rows = await store._lookup.run(
            lambda session: session.connection.execute(
                "select consumer_name, count(*) from event_consumers group by 1 order by 1"
            ).fetchall()
        )
        await bus.close()
        return rows  # type: ignore[no-any-return]

    return asyncio.run(work())


@pytest.mark.parametrize("make", [asynchronous, plain])
@pytest.mark.parametrize("kind", STRIKING)
def test_an_event_is_handled_twice_and_has_one_receipt(
    kind: str, make: Callable[[Handled], Callable[..., Any]], handled: Handled
) -> None:
    with under(kind) as (bus, faults):
        bus.subscribe("order.placed", make(handled), name="billing")
        assert publish_and_drain(bus, [1]) == [("billing", 1)]
    (_, _, first, before), (_, _, second, after) = handled.calls
    assert faults.hit == {"billing"}
    if kind == "lost-connection":
        assert (first, second, before) == (1, 2, after), "a failed attempt"
    else:
        assert after > before, "another worker"


@pytest.mark.parametrize("kind", STRIKING)
def test_order_per_key_is_kept(kind: str, handled: Handled) -> None:
    with under(kind) as (bus, _):
        bus.subscribe("order.placed", asynchronous(handled), name="billing")
        assert publish_and_drain(bus, [1, 2, 3], key="order") == [("billing", 3)]
    assert list(dict.fromkeys(handled.numbers("billing"))) == [1, 2, 3]
    assert sorted(handled.numbers("billing")) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("kind", STRIKING)
def test_only_the_handlers_that_are_meant_are_struck(kind: str, handled: Handled) -> None:
    with under(kind, only={"billing"}) as (bus, faults):
        bus.subscribe("order.placed", asynchronous(handled), name="billing")
        bus.subscribe("order.placed", plain(handled), name="stock")
        assert publish_and_drain(bus, [1]) == [("billing", 1), ("stock", 1)]
    assert handled.numbers("billing") == [1, 1]
    assert faults.hit - {"billing"} == ({"stock"} if len(handled.numbers("stock")) > 1 else set())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_async", [True, False])
def test_a_transactional_handlers_writes_are_there_once(kind: str, is_async: bool, handled: Handled) -> None:
    def write(event: Event, delivery: Delivery) -> None:
        handled.note(event, delivery)
        delivery.connection.execute("create table if not exists invoices (n)")
        delivery.connection.execute("insert into invoices values (?)", (event.payload["n"],))

    async def write_async(event: Event, delivery: Delivery) -> None:
        write(event, delivery)

    async def invoices(bus: EventBus) -> list[Any]:
        await bus.publish("order.placed", {"n": 1})
        await bus.drain(timeout=20)
        rows = await (await bus.open()).store._lookup.run(
            lambda session: session.connection.execute("select n from invoices").fetchall()
        )
        await bus.close()
        return rows  # type: ignore[no-any-return]

    with under(kind) as (bus, _):
        bus.subscribe("order.placed", write_async if is_async else write, name="billing", transactional=True)
        assert asyncio.run(invoices(bus)) == [(1,)]
    twice = kind == "lost-connection" or (kind == "crash" and is_async)  # a thread cannot be cut off: it commits
    assert len(handled.calls) == 1 + twice, "what else it does may be done twice"


@pytest.mark.parametrize("make", [asynchronous, plain])
def test_unrelated_events_are_handled_the_latest_first(
    make: Callable[[Handled], Callable[..., Any]], handled: Handled
) -> None:
    with under("reorder") as (bus, faults):
        bus.subscribe("order.placed", make(handled), name="billing")
        bus.subscribe("order.placed", make(handled), name="one-at-a-time", concurrency=1)
        publish_and_drain(bus, [1, 2, 3])
    order = handled.numbers("billing")
    assert sorted(order) == [1, 2, 3]
    assert order[-1] == 1, "and of the others the one that came in time was first"
    assert faults.hit == {"billing"}


def test_events_of_one_key_are_not_reordered(handled: Handled) -> None:
    with under("reorder") as (bus, faults):
        bus.subscribe("order.placed", asynchronous(handled), name="billing")
        publish_and_drain(bus, [1, 2, 3], key="order")
    assert handled.numbers("billing") == [1, 2, 3]
    assert faults.hit == set()


def test_a_handler_that_fails_by_itself_is_not_struck_for_that(handled: Handled) -> None:
    async def fail_once(event: Event, delivery: Delivery) -> None:
        handled.note(event, delivery)
        if len(handled.calls) == 1:
            raise ValueError("no")

    with under("reorder") as (bus, faults):
        bus.subscribe("order.placed", fail_once, name="billing")
        publish_and_drain(bus, [1])
    assert (handled.numbers("billing"), faults.hit) == ([1, 1], set())


@pytest.mark.parametrize("kind", STRIKING)
def test_batches_are_struck_as_a_whole(kind: str) -> None:
    batches: list[list[int]] = []

    async def handle(events: list[Event]) -> None:
        batches.append([event.payload["n"] for event in events])

    with under(kind) as (bus, faults):
        bus.subscribe("order.placed", handle, name="billing", batch=10)
        assert publish_and_drain(bus, [1, 2, 3]) == [("billing", 3)]
    assert all(sum(batch.count(n) for batch in batches) >= 2 for n in (1, 2, 3))
    assert faults.hit == {"billing"}


@pytest.mark.parametrize("kind", STRIKING)
def test_on_postgresql_too(kind: str, emptied_dsn: str, handled: Handled) -> None:
    bus, faults = EventBus("sqlite://"), Faults(kind)
    bus.subscribe("order.placed", asynchronous(handled), name="billing")

    async def work() -> None:
        await bus.publish("order.placed", {"n": 1})
        await bus.drain(timeout=20)
        await bus.close()

    with stage(bus, emptied_dsn, faults=faults):
        asyncio.run(work())
    assert (handled.numbers("billing"), faults.hit) == ([1, 1], {"billing"})
