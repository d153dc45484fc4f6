"""One tenant of a subscription is paused: the others go on, and its own events come later, in order, once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from holdfast import Event, Retry
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector

from .waiting import sql, until, vanish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from holdfast import EventBus
    from holdfast.stores.operator import Operator
    from holdfast.worker.runner import Runner

Seen = list[tuple[str, int]]


@asynccontextmanager
async def operating(dsn: str) -> AsyncIterator[Operator]:
    store = make_store(dsn, timeout=10)
    inspector, operator = make_inspector(store)
    try:
        yield operator
    finally:
        await inspector.close()
        await store.close()


def runner_of(bus: EventBus) -> Runner:
    assert bus._live is not None
    assert bus._live.worker is not None
    (runner,) = bus._live.worker._runners.values()
    return runner


async def publish(bus: EventBus, tenant: str, numbers: range, *, keys: int = 3) -> None:
    items = [{"name": "a", "payload": n, "tenant_id": tenant, "key": f"k{n % keys}"} for n in numbers]
    await bus.publish_many(items)


def noting(bus: EventBus, seen: Seen, **options: object) -> None:
    async def note(event: Event) -> None:
        seen.append((event.tenant_id, event.payload))

    bus.subscribe("a", note, name="s", **{"start": "beginning", "partitions": 3, **options})  # type: ignore[arg-type]


async def noticed(bus: EventBus, *tenants: str) -> None:
    await until(lambda: runner_of(bus).record.paused_tenants == set(tenants))


def of(seen: Seen, tenant: str) -> list[int]:
    return [number for one, number in seen if one == tenant]


def in_order(numbers: list[int], keys: int = 3) -> bool:
    return all(
        [n for n in numbers if n % keys == key] == sorted(n for n in numbers if n % keys == key) for key in range(keys)
    )


def nobody_is_deferred(dsn: str) -> bool:
    return sql(dsn, "select count(*) from cursors where deferred is not null") == [(0,)]


async def test_the_others_go_on_and_what_waited_comes_once_and_in_order(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, seen = make_bus(shared_dsn), Seen()
    noting(bus, seen)
    async with bus, operating(shared_dsn) as operator:
        await publish(bus, "acme", range(10))
        await until(lambda: len(seen) == 10)
        await operator.pause("s", actor="me", tenant_id="acme")
        await noticed(bus, "acme")
        await publish(bus, "acme", range(10, 40))
        await publish(bus, "bell", range(30))
        await until(lambda: len(of(seen, "bell")) == 30)
        await bus.drain(timeout=10)
        assert len(of(seen, "acme")) == 10
        await operator.resume("s", actor="me", tenant_id="acme")
        await until(lambda: len(of(seen, "acme")) == 40)
        await publish(bus, "acme", range(40, 50))
        await bus.drain(timeout=10)
        assert in_order(of(seen, "acme"))
        assert sorted(of(seen, "acme")) == list(range(50))
        assert sorted(of(seen, "bell")) == list(range(30))
        await until(lambda: nobody_is_deferred(shared_dsn))


async def test_what_is_in_hand_and_does_not_run_waits_too(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus, seen, gate = make_bus(shared_dsn), Seen(), asyncio.Event()

    async def wait(event: Event) -> None:
        seen.append((event.tenant_id, event.payload))
        await gate.wait()

    bus.subscribe("a", wait, name="s", concurrency=1, partitions=2)
    async with bus, operating(shared_dsn) as operator:
        await publish(bus, "acme", range(20))
        await until(lambda: len(seen) == 1)
        await until(lambda: runner_of(bus).held_now == 20)
        await operator.pause("s", actor="me", tenant_id="acme")
        await until(lambda: runner_of(bus).held_now == 1)
        await publish(bus, "bell", range(5))
        gate.set()
        await bus.drain(timeout=10)
        assert len(of(seen, "acme")) == 1
        await operator.resume("s", actor="me", tenant_id="acme")
        await until(lambda: len(of(seen, "acme")) == 20)
        assert in_order(of(seen, "acme"))


async def test_it_stays_paused_for_whoever_comes_next(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    first, second, seen = make_bus(shared_dsn), make_bus(shared_dsn), Seen()
    noting(first, seen)
    noting(second, seen)
    async with operating(shared_dsn) as operator:
        async with first:
            await publish(first, "acme", range(5))
            await until(lambda: len(seen) == 5)
            await operator.pause("s", actor="me", tenant_id="acme")
            await noticed(first, "acme")
            await publish(first, "acme", range(5, 10))
            await publish(first, "bell", range(5))
            await until(lambda: len(of(seen, "bell")) == 5)
        assert not nobody_is_deferred(shared_dsn), "the goodbye says what waits"
        async with second:
            await publish(second, "bell", range(5, 10))
            await until(lambda: len(of(seen, "bell")) == 10)
            assert len(of(seen, "acme")) == 5
            await operator.resume("s", actor="me", tenant_id="acme")
            await until(lambda: len(of(seen, "acme")) == 10)
            await second.drain(timeout=10)
    assert sorted(of(seen, "acme")) == list(range(10))
    assert sorted(of(seen, "bell")) == list(range(10))


async def test_a_worker_that_vanishes_leaves_nothing_behind(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    """Its successor looks up what it may have had in hand, of the paused tenant when that goes on."""
    first, second, seen = make_bus(shared_dsn, lease_ttl=1), make_bus(shared_dsn, lease_ttl=1), Seen()
    noting(first, seen)
    noting(second, seen)
    async with operating(shared_dsn) as operator:
        await (await first.open()).start()
        await publish(first, "acme", range(30))
        await publish(first, "bell", range(30))
        await until(lambda: len(seen) > 0)
        await operator.pause("s", actor="me", tenant_id="acme")
        await noticed(first, "acme")
        await vanish(first)
        async with second:
            await until(lambda: len(set(of(seen, "bell"))) == 30)
            await operator.resume("s", actor="me", tenant_id="acme")
            await until(lambda: len(set(of(seen, "acme"))) == 30)
            await second.drain(timeout=10)
            await until(lambda: nobody_is_deferred(shared_dsn))


async def test_retries_of_the_tenant_wait_as_well(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus, seen, is_paused = make_bus(shared_dsn), Seen(), asyncio.Event()

    async def again(event: Event) -> None:
        seen.append((event.tenant_id, event.payload))
        await is_paused.wait()
        if seen.count((event.tenant_id, event.payload)) == 1:
            raise Retry(after=0.01)

    bus.subscribe("a", again, name="s", partitions=1)
    async with bus, operating(shared_dsn) as operator:
        await publish(bus, "acme", range(1))
        await until(lambda: of(seen, "acme") == [0])
        await operator.pause("s", actor="me", tenant_id="acme")
        await noticed(bus, "acme")
        is_paused.set()
        await until(lambda: sql(shared_dsn, "select state from deliveries") == [("retrying",)])
        await publish(bus, "bell", range(1))  # its retry falls due behind the other one
        await bus.drain(timeout=10)
        assert (of(seen, "bell"), of(seen, "acme")) == ([0, 0], [0])
        await operator.resume("s", actor="me", tenant_id="acme")
        await bus.drain(timeout=10)
        assert of(seen, "acme") == [0, 0]


@pytest.mark.parametrize("tenants", [("acme",), ("acme", "bell")])
async def test_pausing_again_and_again_loses_and_repeats_nothing(
    shared_dsn: str, make_bus: Callable[..., EventBus], tenants: tuple[str, ...]
) -> None:
    bus, seen = make_bus(shared_dsn), Seen()
    noting(bus, seen)
    async with bus, operating(shared_dsn) as operator:
        for turn in range(6):
            numbers = range(20 * turn, 20 * turn + 20)
            for tenant in ("acme", "bell", "coda"):
                await publish(bus, tenant, numbers)
            for tenant in tenants:
                await operator.pause("s", actor="me", tenant_id=tenant)
            if turn % 2:
                await noticed(bus, *tenants)
            for tenant in tenants:
                await operator.resume("s", actor="me", tenant_id=tenant)
        await until(lambda: len(seen) == 360)
        await bus.drain(timeout=20)
        for tenant in ("acme", "bell", "coda"):
            assert sorted(of(seen, tenant)) == list(range(120))
            assert in_order(of(seen, tenant))
        await until(lambda: nobody_is_deferred(shared_dsn))
