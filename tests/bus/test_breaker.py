"""The breaker in a worker: nothing that can go wrong with a probe keeps a subscription still for ever."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from holdfast import Event, EventBus, Reject, RetryPolicy, worker
from holdfast.errors import StoreUnavailable
from holdfast.ports import elapsed
from holdfast.worker import WorkerOptions

from .waiting import sql, until

if TYPE_CHECKING:
    from collections.abc import Callable

SOON = RetryPolicy(base=0.2, max_delay=0.2, max_attempts=50)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "WorkerOptions", partial(WorkerOptions, breaker_waits=(0.1, 0.2)))


@pytest.mark.parametrize("error", [Reject("a bad order"), ValueError("a bad order")], ids=["rejected", "failing"])
async def test_an_event_that_can_never_be_handled_does_not_keep_it_open(shared_bus: EventBus, error: Exception) -> None:
    """Whatever is tried first: the others get their turn."""
    down, seen = True, list[int]()

    @shared_bus.subscribe("a", name="s", partitions=1, breaker=2, concurrency=1, retry=SOON)
    async def handle(event: Event) -> None:
        if down:
            raise ValueError("down")
        if event.payload == 2:
            raise error
        seen.append(event.payload)

    async with shared_bus:
        await shared_bus.publish_many([{"name": "a", "payload": n} for n in range(6)])
        live = shared_bus._live
        assert live is not None
        assert live.worker is not None
        (runner,) = live.worker._runners.values()
        await until(lambda: runner.is_tripped)
        down = False
        await until(lambda: sorted(seen) == [0, 1, 3, 4, 5])


async def test_an_open_one_delays_nobody_else(shared_bus: EventBus) -> None:
    seen = list[int]()

    @shared_bus.subscribe("a", name="s", breaker=2, retry=RetryPolicy(base=60))
    async def fail(event: Event) -> None:
        raise ValueError("down")

    @shared_bus.subscribe("a", name="healthy", breaker=2)
    async def handle(event: Event) -> None:
        seen.append(event.payload)

    async with shared_bus:
        await shared_bus.publish_many([{"name": "a", "payload": n} for n in range(6)])
        assert shared_bus._live is not None
        assert shared_bus._live.worker is not None
        failing, healthy = shared_bus._live.worker._runners.values()
        await until(lambda: failing.is_tripped)
        await shared_bus.publish_many([{"name": "a", "payload": n} for n in range(6, 4_000)])  # more than is read ahead
        await until(lambda: len(seen) == 4_000)
        assert failing.is_tripped
        assert not healthy.is_tripped


async def test_a_probe_that_never_began_is_none(shared_bus: EventBus) -> None:
    """The leases were in doubt when its time had come."""
    down, seen = True, list[int]()

    @shared_bus.subscribe("a", name="s", partitions=1, breaker=2, concurrency=1, retry=SOON)
    async def handle(event: Event) -> None:
        if down:
            raise ValueError("down")
        seen.append(event.payload)

    shared_bus._options = shared_bus._options.__class__(
        shared_bus.dsn, auto_migrate=True, spool="off", lease_ttl=1, stop_timeout=1
    )
    async with shared_bus:
        live = shared_bus._live
        assert live is not None
        assert live.worker is not None
        keeper, renew = live.worker.keeper, live.store.renew

        async def away(*_: object, **__: object) -> set[object]:
            raise StoreUnavailable("away")

        await shared_bus.publish_many([{"name": "a", "payload": n} for n in range(6)])
        live.store.renew = away  # type: ignore[method-assign,assignment]
        await until(lambda: elapsed() >= keeper.valid_until)
        live.store.renew = renew  # type: ignore[method-assign]
        down = False
        await until(lambda: sorted(seen) == list(range(6)), seconds=30)


async def test_a_probe_of_a_batch_is_one_event_and_keeps_its_place(make_bus: Callable[..., EventBus]) -> None:
    bus, down, seen = make_bus("sqlite://"), True, list[list[int]]()

    @bus.subscribe("a", name="s", partitions=1, breaker=2, batch=2, concurrency=1, retry=RetryPolicy(base=60))
    async def handle(events: list[Event]) -> None:
        seen.append([event.payload for event in events])
        if down or any(event.payload < 10 for event in events):
            raise ValueError("down")

    async with bus:
        filler = [{"name": "a", "payload": n, "key": f"filler {n}"} for n in range(2)]
        await bus.publish_many([*filler, *({"name": "a", "payload": n, "key": "k"} for n in (10, 11, 12, 13))])
        await until(lambda: [10] in seen)
        down = False
        await until(lambda: seen and seen[-1][-1] == 13)
    of_the_key = [n for batch in seen for n in batch if n >= 10]
    assert of_the_key == sorted(of_the_key), f"in order, the same one again until it is handled: {seen}"


async def test_a_probe_whose_thread_still_runs_keeps_its_key(make_bus: Callable[..., EventBus]) -> None:
    bus, down, running, most, seen = make_bus("sqlite://"), True, 0, 0, list[int]()

    @bus.subscribe("a", name="s", partitions=1, breaker=1, concurrency=4, timeout=0.1, retry=SOON)
    def handle(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if down:
            time.sleep(0.4)  # beyond its timeout, and no cancel ends a thread
        running -= 1
        seen.append(event.payload)

    async with bus:
        await bus.publish_many([{"name": "a", "payload": n, "key": "k"} for n in range(3)])
        await until(lambda: len(seen) >= 3)
        down = False
        await bus.drain(20)
    assert most == 1


async def test_a_dead_member_of_a_batch_is_on_record_before_a_later_one_of_its_key_is_done(
    shared_bus: EventBus, shared_dsn: str
) -> None:
    states: list[object] = []

    @shared_bus.subscribe("a", name="s", partitions=1, batch=3, retry=RetryPolicy(max_attempts=1), breaker=None)
    async def handle(events: list[Event]) -> None:
        if any(event.payload == 0 for event in events):
            raise Reject("no")
        states.append(await asyncio.to_thread(sql, shared_dsn, "select state from deliveries"))

    await shared_bus.publish_many([{"name": "a", "payload": n, "key": "k"} for n in range(3)])
    await shared_bus.drain(10)
    assert states
    assert all(state == [("dead",)] for state in states)


async def test_a_slot_that_writes_its_outcome_is_not_the_watchdogs(make_bus: Callable[..., EventBus]) -> None:
    """After `StoreUnavailable` a slot pauses for longer than this timeout; a cancel then left the key's lane closed."""
    bus, attempts = make_bus("sqlite://"), 0

    @bus.subscribe("a", name="s", timeout=0.05, retry=SOON)
    async def handle(event: Event) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise StoreUnavailable("another store than the bus's")

    async with bus:
        await bus.publish("a", key="k")
        await bus.drain(10)
    assert attempts == 2
