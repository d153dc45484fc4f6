"""A tenant with a large backlog keeps nobody else waiting, and loses nothing by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from .waiting import sql, until, vanish

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import Event, EventBus

MANY, AT_ONCE = 100_000, 10_000


async def pile_up(bus: EventBus, tenant: str, number: int, *, keys: int = 100) -> None:
    for start in range(0, number, AT_ONCE):
        await bus.publish_many(
            {"name": "a", "payload": n, "tenant_id": tenant, "key": f"k{n % keys}"}
            for n in range(start, min(start + AT_ONCE, number))
        )


def noting(bus: EventBus, seen: list[tuple[str, int]], gate: asyncio.Event | None = None) -> None:
    async def note(event: Event) -> None:
        if gate is not None:
            await gate.wait()
        seen.append((event.tenant_id, event.payload))

    bus.subscribe("a", note, name="s", start="beginning")


def nobody_is_deferred(dsn: str) -> bool:
    return sql(dsn, "select count(*) from cursors where deferred is not null") == [(0,)]


async def test_one_event_behind_a_hundred_thousand_of_another_tenant_is_handled_after_two_thousand_at_most(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, seen = make_bus(shared_dsn), list[tuple[str, int]]()
    await pile_up(bus, "acme", MANY)
    await bus.publish("a", 1, tenant_id="bell")
    noting(bus, seen)
    async with bus:
        await until(lambda: ("bell", 1) in seen)
        assert seen.index(("bell", 1)) <= 2_000
        await until(lambda: len(seen) == MANY + 1, seconds=60)
        await bus.drain(timeout=30)
        await until(lambda: nobody_is_deferred(shared_dsn))
    acme = [n for tenant, n in seen if tenant == "acme"]
    assert len(acme) == len(set(acme)) == MANY
    for key in range(100):
        its = [n for n in acme if n % 100 == key]
        assert its == sorted(its)


async def test_events_that_come_while_another_tenant_has_a_backlog_are_handled_soon(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, seen, gate = make_bus(shared_dsn), list[tuple[str, int]](), asyncio.Event()
    noting(bus, seen, gate)
    await pile_up(bus, "acme", 20_000)
    async with bus:
        await until(lambda: not nobody_is_deferred(shared_dsn))
        await bus.publish_many({"name": "a", "payload": n, "tenant_id": "bell", "key": "k"} for n in range(10))
        gate.set()
        await until(lambda: ("bell", 9) in seen)
        assert seen.index(("bell", 9)) <= 3_000
        assert [n for tenant, n in seen if tenant == "bell"] == list(range(10))
        await until(lambda: len(seen) == 20_010, seconds=30)


async def test_many_tenants_with_backlogs_share(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus, seen = make_bus(shared_dsn), list[tuple[str, int]]()
    for tenant in ("acme", "bell", "coda"):
        await pile_up(bus, tenant, 5_000)
    await pile_up(bus, "dorn", 5)
    noting(bus, seen)
    async with bus:
        await until(lambda: len(seen) == 15_005, seconds=30)
        await bus.drain(timeout=30)
    # Of each of the three two pages at most: the first may hold a few less than a share, as positions have gaps.
    assert max(seen.index(("dorn", n)) for n in range(5)) <= 3 * 2_000
    assert len(seen) == len(set(seen)) == 15_005


@pytest.mark.parametrize("gently", [True, False])
async def test_whoever_takes_over_knows_what_was_left_for_later(
    shared_dsn: str, make_bus: Callable[..., EventBus], gently: bool
) -> None:
    first, second = make_bus(shared_dsn, lease_ttl=1), make_bus(shared_dsn, lease_ttl=1)
    seen, gate = list[tuple[str, int]](), asyncio.Event()

    async def note(event: Event) -> None:
        if len(seen) >= 1_200:
            await gate.wait()  # so that a backlog is left for whoever takes over
        seen.append((event.tenant_id, event.payload))

    first.subscribe("a", note, name="s", start="beginning")
    noting(second, seen)
    await pile_up(first, "acme", 5_000)
    await pile_up(first, "bell", 50)
    await (await first.open()).start()
    await until(lambda: not nobody_is_deferred(shared_dsn))
    handled = len(seen)
    await (first.close() if gently else vanish(first))
    async with second:
        await until(lambda: len(set(seen)) == 5_050, seconds=30)
        await second.drain(timeout=30)
        await until(lambda: nobody_is_deferred(shared_dsn))
    assert handled <= 1_200
    if gently:
        assert len(seen) == 5_050
