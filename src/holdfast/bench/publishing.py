"""Publishing, measured from outside through Holdfast's public face. Each function is run in a process of its own."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from holdfast.bench.buses import declared
from holdfast.bench.loads import item
from holdfast.bench.workload import CALLERS, NAME, Numbers, key, payload, rate, spread

if TYPE_CHECKING:
    from holdfast import EventBus


def alone(dsn: str, events: int) -> Numbers:
    """One call after the other."""

    async def run() -> list[float]:
        bus = declared(dsn)
        await bus.publish(NAME, payload(0), key=key(0))
        seconds = [await _timed_publish(bus, number) for number in range(events)]
        await bus.close()
        return seconds

    return spread(asyncio.run(run()))


async def _timed_publish(bus: EventBus, number: int) -> float:
    content = payload(number)
    started = time.perf_counter()
    await bus.publish(NAME, content, key=key(number))
    return time.perf_counter() - started


def grouped(dsn: str, events: int) -> Numbers:
    """200 callers at once, each one call after the other."""

    async def run() -> tuple[float, list[float]]:
        bus = declared(dsn)
        await bus.publish(NAME, payload(0), key=key(0))
        numbers = iter(range(events))
        seconds: list[float] = []

        async def caller() -> None:
            for number in numbers:  # the callers share them out
                seconds.append(await _timed_publish(bus, number))  # noqa: PERF401 - all add to one list

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        elapsed = time.perf_counter() - started
        await bus.close()
        return elapsed, seconds

    elapsed, seconds = asyncio.run(run())
    return rate(events, elapsed) | spread(seconds)


def many(dsn: str, events: int) -> Numbers:
    """All in one call."""

    async def run() -> float:
        bus = declared(dsn)
        await bus.publish(NAME, payload(0), key=key(0))
        items = [item(number) for number in range(events)]
        started = time.perf_counter()
        await bus.publish_many(items)
        elapsed = time.perf_counter() - started
        await bus.close()
        return elapsed

    return rate(events, asyncio.run(run()))


def at_once(dsn: str, events: int) -> None:
    """Store them in one transaction: they come into sight together."""

    async def run() -> None:
        bus = declared(dsn)
        await bus.publish_many([item(number) for number in range(events)])
        await bus.close()

    asyncio.run(run())
