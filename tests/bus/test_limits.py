"""Limits per tenant and per key: kept, first in first out, and nobody else waits for those who have to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from holdfast import Limit

from .waiting import sql, until, vanish

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import Event, EventBus


async def publish(bus: EventBus, tenant: str, number: int, *, keys: int = 50) -> None:
    await bus.publish_many(
        [{"name": "a", "payload": n, "tenant_id": tenant, "key": f"k{n % keys}"} for n in range(number)]
    )


def in_order_per_key(seen: list[tuple[str, int]], tenant: str, keys: int) -> bool:
    its = [n for one, n in seen if one == tenant]
    return all((of_key := [n for n in its if n % keys == k]) == sorted(of_key) for k in range(keys))


@pytest.mark.parametrize("batch", [None, 10])
async def test_a_rate_is_kept_and_another_tenant_does_not_wait(
    shared_dsn: str, make_bus: Callable[..., EventBus], batch: int | None
) -> None:
    bus, seen, times = make_bus(shared_dsn), list[tuple[str, int]](), list[float]()

    async def note(given: Event | list[Event]) -> None:
        for event in given if isinstance(given, list) else [given]:
            seen.append((event.tenant_id, event.payload))
            if event.tenant_id == "acme":
                times.append(time.monotonic())

    bus.subscribe("a", note, name="s", start="beginning", batch=batch, limits=Limit("tenant", rate=40, burst=5))
    await publish(bus, "acme", 60)
    await publish(bus, "bell", 30)
    started = time.monotonic()
    async with bus:
        await until(lambda: len(times) == 60)
        await bus.drain(timeout=10)
    # Each one as early as it may be, seen from the start: 5 at once, then one every 25 ms.
    assert all(at - started >= (number - 5) / 40 for number, at in enumerate(times, 1))
    assert seen.index(("bell", 29)) < seen.index(("acme", 59))
    assert in_order_per_key(seen, "acme", 50)
    assert len(seen) == len(set(seen)) == 90


@pytest.mark.parametrize("style", ["async", "sync"])
async def test_no_more_of_a_tenant_run_at_once(shared_dsn: str, make_bus: Callable[..., EventBus], style: str) -> None:
    bus, running, most, ended = make_bus(shared_dsn), Counter[str](), Counter[str](), Counter[str]()
    gate, guard = threading.Event(), threading.Lock()

    def enter(event: Event) -> None:
        with guard:
            running[event.tenant_id] += 1
            most[event.tenant_id] = max(most[event.tenant_id], running[event.tenant_id])

    def leave(event: Event) -> None:
        with guard:
            running[event.tenant_id] -= 1
            ended[event.tenant_id] += 1

    async def work(event: Event) -> None:
        enter(event)
        while not gate.is_set():  # noqa: ASYNC110 - the gate is a thread's
            await asyncio.sleep(0.001)
        leave(event)

    def work_in_thread(event: Event) -> None:
        enter(event)
        gate.wait()
        leave(event)

    bus.subscribe(
        "a", work if style == "async" else work_in_thread, name="s", start="beginning",
        limits=[Limit("tenant", at_once=3)],
    )  # fmt: skip
    for tenant in ("acme", "bell"):
        await publish(bus, tenant, 20)
    async with bus:
        await until(lambda: running == {"acme": 3, "bell": 3})
        gate.set()
        await until(lambda: ended == {"acme": 20, "bell": 20})
        await bus.drain(timeout=10)
    assert most == {"acme": 3, "bell": 3}


async def test_backlogs_of_limited_tenants_leave_room_to_others(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    """Three tenants with more than all that may be in hand, at rates at which they would take hours."""
    bus, seen = make_bus(shared_dsn), list[tuple[str, int]]()

    async def note(event: Event) -> None:
        seen.append((event.tenant_id, event.payload))

    bus.subscribe("a", note, name="s", start="beginning", limits=Limit("tenant", rate=2, burst=1))
    for tenant in ("acme", "bell", "coda"):
        await publish(bus, tenant, 4_000)
    await bus.publish("a", 0, tenant_id="dorn")
    async with bus:
        await until(lambda: ("dorn", 0) in seen)
        for number in range(1, 4):  # also those that come later
            await bus.publish("a", number, tenant_id="dorn")
            await until(lambda number=number: ("dorn", number) in seen)
        await until(lambda: all(sum(one == tenant for one, _ in seen) >= 4 for tenant in ("acme", "bell", "coda")))
        assert bus._live.worker is not None  # type: ignore[union-attr]
        (runner,) = bus._live.worker._runners.values()  # type: ignore[union-attr]
        assert runner.held_now < 2_000
    assert len(seen) == len(set(seen))


async def test_who_is_in_hand_beside_a_backlog_that_is_set_aside_stays_there(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    """Only what is read again later is let go of."""
    bus, seen = make_bus(shared_dsn), list[int]()

    async def note(event: Event) -> None:
        if event.tenant_id == "bell":
            seen.append(event.payload)

    bus.subscribe("a", note, name="s", start="beginning", limits=Limit("tenant", rate=40, burst=1))
    few = [n for n in range(3_000) if n % 30 == 0]
    await bus.publish_many(
        [{"name": "a", "payload": n, "tenant_id": "acme" if n % 30 else "bell", "key": "k"} for n in range(3_000)]
    )
    async with bus:
        await until(lambda: len(seen) >= len(few), seconds=40)
    assert seen == few


async def test_all_of_a_large_backlog_is_handled_once_and_in_order_at_its_rate(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    """It is set aside and comes back several times on its way."""
    bus, seen = make_bus(shared_dsn), list[tuple[str, int]]()

    async def note(event: Event) -> None:
        seen.append((event.tenant_id, event.payload))

    bus.subscribe("a", note, name="s", start="beginning", limits=Limit("tenant", rate=600))
    for tenant in ("acme", "bell"):
        await publish(bus, tenant, 3_000)
    async with bus:
        await until(lambda: len(set(seen)) == 6_000, seconds=40)
        await bus.drain(timeout=10)
        await until(lambda: sql(shared_dsn, "select count(*) from cursors where deferred is not null") == [(0,)])
    assert len(seen) == 6_000
    assert in_order_per_key(seen, "acme", 50)
    assert in_order_per_key(seen, "bell", 50)


@pytest.mark.parametrize("gently", [True, False])
async def test_whoever_takes_over_keeps_the_limit_and_loses_nothing(
    shared_dsn: str, make_bus: Callable[..., EventBus], gently: bool
) -> None:
    first, second = make_bus(shared_dsn, lease_ttl=1), make_bus(shared_dsn, lease_ttl=1)
    seen = list[tuple[str, int]]()

    async def note(event: Event) -> None:
        seen.append((event.tenant_id, event.payload))

    limit = Limit("tenant", rate=20, burst=1)
    first.subscribe("a", note, name="s", start="beginning", limits=limit)
    second.subscribe("a", note, name="s", start="beginning", limits=Limit("tenant", rate=2_000))
    for tenant in ("acme", "bell"):
        await publish(first, tenant, 1_500)
    await (await first.open()).start()
    await until(lambda: sql(shared_dsn, "select count(*) from cursors where deferred is not null") != [(0,)])
    await until(lambda: len(seen) >= 20)
    await (first.close() if gently else vanish(first))
    async with second:
        await until(lambda: len(set(seen)) == 3_000, seconds=30)
        await second.drain(timeout=10)
    if gently:
        assert len(seen) == 3_000
        assert in_order_per_key(seen, "acme", 50)


async def test_a_key_over_its_limit_keeps_no_other_key_waiting(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, seen = make_bus(shared_dsn), list[tuple[str, int]]()

    async def note(event: Event) -> None:
        seen.append((event.key or "", event.payload))

    bus.subscribe("a", note, name="s", start="beginning", limits=Limit("key", rate=20, burst=1))
    for start in (0, 2_000):
        await bus.publish_many([{"name": "a", "payload": n, "key": "hot"} for n in range(start, start + 2_000)])
    await bus.publish_many([{"name": "a", "payload": n, "key": f"k{n}"} for n in range(100)])
    await bus.publish("a", 0)
    started = time.monotonic()
    async with bus:
        await until(lambda: len({one for one, _ in seen}) == 102)
        await until(lambda: sum(one == "hot" for one, _ in seen) >= 30)
        hot = [n for one, n in seen if one == "hot"]
        seconds = time.monotonic() - started
    assert hot == list(range(len(hot)))
    assert len(hot) <= 20 * seconds + 1
    assert ("", 0) in seen


async def test_workers_together_keep_the_rate(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    """Each has the part of the rate that its partitions are of all."""
    buses, times = [make_bus(shared_dsn, lease_ttl=2) for _ in range(2)], list[float]()

    async def note(event: Event) -> None:
        times.append(time.monotonic())

    for bus in buses:
        bus.subscribe("a", note, name="s", limits=Limit("tenant", rate=60, burst=1))
        await (await bus.open()).start()
    workers = [bus._live.worker for bus in buses]  # type: ignore[union-attr]
    await until(lambda: [len(worker.epochs) for worker in workers] == [4, 4])  # type: ignore[union-attr]
    await buses[0].publish_many([{"name": "a", "payload": n, "key": f"k{n}"} for n in range(120)])
    started = time.monotonic()
    await until(lambda: len(times) == 120)
    # One of the two at once at each, then together no more than one every 17 ms.
    assert all(at - started >= (number - 2) / 60 - 0.05 for number, at in enumerate(sorted(times), 1))


async def test_a_failure_is_retried_within_the_limit(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus, tries = make_bus(shared_dsn), Counter[int]()

    async def fail_once(event: Event) -> None:
        tries[event.payload] += 1
        if tries[event.payload] == 1:
            raise RuntimeError("once")

    from holdfast import RetryPolicy

    bus.subscribe(
        "a", fail_once, name="s", retry=RetryPolicy(base=0), breaker=None,
        limits=[Limit("tenant", at_once=1, rate=200), Limit("key", rate=100)],
    )  # fmt: skip
    async with bus:
        await publish(bus, "acme", 30, keys=5)
        await until(lambda: len(tries) == 30 and set(tries.values()) == {2})
        await bus.drain(timeout=10)
