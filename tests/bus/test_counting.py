"""Counting: what a bus says that it has done is what was done."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import Event, EventBus, Reject, Retry, RetryPolicy, SyncEventBus
from holdfast.counts import SECONDS

from .waiting import sql, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.counts import PublisherCounts, SubscriptionCounts

TWICE = RetryPolicy(max_attempts=2, base=0.01)


def publisher(bus: EventBus) -> PublisherCounts:
    assert bus.counts is not None
    return bus.counts.publisher


def of(bus: EventBus, name: str = "s") -> SubscriptionCounts:
    assert bus.counts is not None
    return bus.counts.subscriptions[name].counts


def slower_than(counts: SubscriptionCounts, seconds: float) -> int:
    """Calls of the handler that took longer than one of the bounds."""
    return sum(counts.durations.buckets[SECONDS.index(seconds) + 1 :])


async def test_a_bus_that_was_not_used_has_counted_nothing(make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus("sqlite://")
    assert bus.counts is None
    await bus.publish("a")
    await bus.close()
    assert bus.counts is None


@pytest.mark.parametrize("handles", ["at once", "after a wait", "in a thread", "in a transaction"])
async def test_every_delivered_event_is_counted_once(bus: EventBus, handles: str) -> None:
    async def at_once(event: Event) -> None:
        pass

    async def after_a_wait(event: Event) -> None:
        await asyncio.sleep(0)

    def in_a_thread(event: Event) -> None:
        pass

    handler: Any = {"at once": at_once, "after a wait": after_a_wait, "in a thread": in_a_thread}.get(handles, at_once)
    bus.subscribe("a", handler, name="s", transactional=handles == "in a transaction")
    await bus.publish_many([{"name": "a", "payload": n} for n in range(50)])
    await bus.drain(20)
    counts = of(bus)
    assert (counts.delivered, counts.failed, counts.dead) == (50, 0, 0)
    assert sum(counts.durations.buckets) == 50
    assert sum(counts.latencies.buckets) == 50
    # Clocks of one machine: nothing was handled before it was published, nor long after the test began.
    assert 0 < counts.latencies.total < 50 * 20


async def test_attempts_that_fail_are_counted_by_what_becomes_of_them(bus: EventBus) -> None:
    @bus.subscribe("*", name="s", retry=TWICE)
    async def handle(event: Event, delivery: Any) -> None:
        if event.name == "reject":
            raise Reject("no")
        if event.name == "later" and delivery.attempt == 1 and not seen:
            seen.append(event)
            raise Retry(after=0)
        if event.name == "hopeless" or (event.name == "flaky" and delivery.attempt == 1):
            raise RuntimeError(event.name)

    seen: list[Event] = []
    await bus.publish_many([{"name": name, "payload": None} for name in ("reject", "later", "hopeless", "flaky")])
    await bus.drain(20)
    counts = of(bus)
    assert counts.delivered == 2
    assert counts.failed == 4  # reject, hopeless twice, flaky
    assert counts.retried == 2
    assert counts.put_off == 1
    assert counts.dead == 2
    assert sum(counts.durations.buckets) == 7
    assert sum(counts.latencies.buckets) == 0  # none was handled at its first attempt


async def test_a_handler_that_blocks_is_not_hidden_among_quick_ones(bus: EventBus) -> None:
    held = threading.Event()

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        if event.payload == 5:
            held.wait(0.06)  # it keeps the loop: what a handler should not do, and some do

    await bus.publish_many([{"name": "a", "payload": n} for n in range(40)])
    await bus.drain(20)
    assert slower_than(of(bus), 0.05) == 1
    assert of(bus).durations.total >= 0.06


async def test_a_call_of_a_batch_handler_counts_once_and_its_events_each(bus: EventBus) -> None:
    sizes: list[int] = []

    @bus.subscribe("a", name="s", batch=10)
    async def handle(events: list[Event]) -> None:
        sizes.append(len(events))

    await bus.publish_many([{"name": "a", "payload": n} for n in range(30)])
    await bus.drain(20)
    counts = of(bus)
    assert counts.delivered == sum(sizes) == 30
    assert sum(counts.durations.buckets) == len(sizes)
    assert sum(counts.latencies.buckets) == 30


async def test_what_was_published_is_counted_by_where_it_went(
    shared_bus: EventBus, shared_dsn: str
) -> None:  # fmt: skip
    published = await shared_bus.publish("a", 1)
    assert (await shared_bus.publish("a", 1, event_id=published.event_id)).deduplicated
    await shared_bus.publish_many([{"name": "a", "payload": n} for n in range(5)])
    counts = publisher(shared_bus)
    assert (counts.stored, counts.duplicates, counts.joined, counts.spooled) == (6, 1, 0, 0)
    assert (sum(counts.batches.buckets), counts.batches.total) == (3, 7)


def test_what_joins_a_transaction_is_counted_apart(sqlite_dsn: str) -> None:
    import sqlite3

    with SyncEventBus(sqlite_dsn, spool="off") as bus, sqlite3.connect(sqlite_dsn.removeprefix("sqlite:///")) as own:
        bus.publish("a", 0)
        own.execute("create table if not exists mine (n)")
        own.execute("insert into mine values (1)")
        bus.publish_many([{"name": "a", "payload": n} for n in range(3)], tx=own)
        own.commit()
        assert bus.counts is not None
        assert (bus.counts.publisher.joined, bus.counts.publisher.stored) == (3, 1)
    own.close()


async def test_leases_and_transactions_are_counted(bus: EventBus) -> None:
    @bus.subscribe("a", name="s", partitions=4)
    async def handle(event: Event) -> None:
        pass

    await bus.publish("a")
    await bus.drain(20)
    assert bus.counts is not None
    worker, work = bus.counts.worker, bus.counts.subscriptions["s"]
    assert worker is not None
    assert (worker.acquired, worker.lost, work.partitions, work.in_hand, work.is_tripped) == (4, 0, 4, 0, False)
    assert sum(worker.batches.buckets) >= 1
    assert worker.store_errors == 0


async def test_a_worker_writes_its_first_sample_when_it_starts(shared_bus: EventBus, shared_dsn: str) -> None:
    async with shared_bus:
        await until(lambda: sql(shared_dsn, "select position from samples where subscription is null"))
