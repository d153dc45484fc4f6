"""Time in tests: it can be moved, and nobody waits for a retry."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import Event, Retry
from holdfast.errors import ConfigurationError
from holdfast.testing import Clock
from tests.bus.waiting import until

if TYPE_CHECKING:
    from holdfast import EventBus
    from holdfast.testing import PublishedEvents


async def test_a_drain_lets_the_time_of_retries_pass(bus: EventBus, clock: Clock, published: PublishedEvents) -> None:
    at: list[datetime] = []

    async def fail(event: Event) -> None:
        at.append(clock.now())
        raise ValueError("no")

    bus.subscribe("order.placed", fail, name="failing")
    await bus.publish("order.placed", {})
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await bus.drain()
    assert loop.time() - begun < 15, "thirty seconds have passed by the store's clock alone"
    waited = [(later - earlier).total_seconds() for earlier, later in pairwise(at)]
    assert waited == pytest.approx([2, 4, 8, 16], abs=1.9)
    assert all(seconds >= due for seconds, due in zip(waited, (2, 4, 8, 16), strict=True))
    assert clock.ahead == pytest.approx(30, abs=5)
    published.assert_one("holdfast.delivery.dead")


async def test_events_behind_a_key_that_fails_wait_for_it(bus: EventBus, clock: Clock) -> None:
    handled: list[int] = []

    async def fail_first(event: Event) -> None:
        handled.append(event.payload["n"])
        if handled.count(1) < 3:
            raise ValueError("no")

    bus.subscribe("order.placed", fail_first, name="failing-first")
    for n in (1, 2):
        await bus.publish("order.placed", {"n": n}, key="order")
    await bus.drain(timeout=10)
    assert handled == [1, 1, 1, 2]
    assert clock.ahead == pytest.approx(6, abs=2)


async def test_what_falls_due_when_the_clock_is_moved_runs_by_itself(bus: EventBus, clock: Clock) -> None:
    handled: list[datetime] = []

    async def put_off(event: Event) -> None:
        handled.append(clock.now())
        if len(handled) == 1:
            raise Retry(after=3600)

    bus.subscribe("order.placed", put_off, name="put-off")
    async with bus:
        await bus.publish("order.placed", {})
        await until(lambda: handled and is_put_off(bus))
        clock.advance(3600)
        await until(lambda: len(handled) == 2)
    assert (handled[1] - handled[0]).total_seconds() >= 3600


def is_put_off(bus: EventBus) -> bool:
    """Whether that is committed."""
    assert bus.counts is not None
    work = bus.counts.subscriptions["put-off"]
    return work.counts.put_off == 1 and work.in_hand == 0


async def test_the_clock_is_the_stores(bus: EventBus, clock: Clock, published: PublishedEvents) -> None:
    await bus.publish("order.placed", {})
    clock.advance(86_400)
    await bus.publish("order.placed", {})
    first, second = (event.occurred_at for event in published.events())
    assert (second - first).total_seconds() == pytest.approx(86_400, abs=5)
    assert (clock.now() - datetime.now(UTC)).total_seconds() == pytest.approx(86_400, abs=5)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), True, "2", None])
def test_time_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="give seconds, 0 or more"):
        Clock().advance(seconds)
