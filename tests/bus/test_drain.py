"""Draining: what it waits for, and what it says when that takes too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from holdfast import Event, EventBus, RetryPolicy
from holdfast.errors import DrainTimeout

from .waiting import program_environment, receipts, run, sql, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_an_empty_store_is_drained_at_once(bus: EventBus) -> None:
    await bus.drain(10)
    bus.subscribe("a", lambda event: None, name="h")
    await bus.drain(10)


async def test_it_starts_a_worker_and_receipts_are_visible_when_it_returns(
    shared_bus: EventBus, shared_dsn: str
) -> None:
    shared_bus.subscribe("a", lambda event: None, name="h")
    for round_ in range(1, 4):
        await shared_bus.publish_many([{"name": "a", "payload": n} for n in range(100)])
        await shared_bus.drain(10)
        assert receipts(shared_dsn) == round_ * 100


async def test_it_waits_for_what_events_cause(bus: EventBus) -> None:
    depth = 0

    @bus.subscribe("a", name="h")
    async def handle(event: Event) -> None:
        nonlocal depth
        await asyncio.sleep(0.01)
        depth = event.payload
        if depth < 12:
            await bus.publish("a", depth + 1)

    await bus.publish("a", 1)
    await bus.drain(20)
    assert depth == 12


async def test_it_waits_for_retries_and_for_letters_about_the_dead(bus: EventBus) -> None:
    letters: list[Event] = []
    bus.subscribe("holdfast.delivery.dead", letters.append, name="letters")

    @bus.subscribe("a", name="h", retry=RetryPolicy(max_attempts=3, base=0.1))
    async def handle(event: Event) -> None:
        raise ValueError

    await bus.publish("a")
    await bus.drain(10)
    assert len(letters) == 1


async def test_it_waits_for_handlers_that_run(bus: EventBus) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    @bus.subscribe("a", name="h")
    async def handle(event: Event) -> None:
        entered.set()
        await go.wait()

    async with bus:
        await bus.publish("a")
        await entered.wait()
        drain = asyncio.create_task(bus.drain(10))
        for _ in range(5):
            await asyncio.sleep(0.02)
            assert not drain.done()
        go.set()
        await drain


async def test_it_waits_for_what_another_program_inserted(shared_bus: EventBus, shared_dsn: str) -> None:
    seen: list[str] = []
    shared_bus.subscribe("plain.sql", lambda event: seen.append(event.payload["x"]), name="h")
    await shared_bus.drain(10)
    for n in range(8):
        sql(shared_dsn, "insert into event_store (tenant_id, event_name, payload) values ('t', 'plain.sql', ?)",
            f'{{"x": {n}}}')  # fmt: skip
        await shared_bus.drain(10)
        assert seen[-1] == n
    assert len(seen) == 8


async def test_it_waits_for_what_another_bus_published(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    seen: list[int] = []
    worker, publisher = make_bus(shared_dsn), make_bus(shared_dsn)
    worker.subscribe("a", lambda event: seen.append(event.payload), name="h")
    async with worker:
        for n in range(10):
            await publisher.publish("a", n)
            await worker.drain(10)
            assert seen == list(range(n + 1))


async def test_it_waits_for_a_worker_of_another_bus_to_finish(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    """Every partition is the first bus's; the second one, which drains, runs nothing of it."""
    entered, go = asyncio.Event(), asyncio.Event()

    async def handle(event: Event) -> None:
        entered.set()
        await go.wait()

    first, second = make_bus(shared_dsn), make_bus(shared_dsn)
    first.subscribe("a", handle, name="h", partitions=1)
    second.subscribe("a", handle, name="h", partitions=1)
    async with first:
        await first.publish("a")
        await entered.wait()
        drain = asyncio.create_task(second.drain(20))
        for _ in range(5):
            await asyncio.sleep(0.05)
            assert not drain.done()
        go.set()
        await drain
    assert receipts(shared_dsn) == 1


async def test_subscriptions_of_other_buses_are_not_waited_for(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    other, mine = make_bus(shared_dsn), make_bus(shared_dsn)
    other.subscribe("a", lambda event: None, name="other")
    await other.publish("a")
    await mine.publish("a")
    await mine.drain(5)
    assert receipts(shared_dsn) == 0


async def test_paused_subscriptions_are_not_waited_for(shared_bus: EventBus, shared_dsn: str) -> None:
    seen: list[str] = []
    shared_bus.subscribe("a", lambda event: seen.append("paused"), name="paused")
    shared_bus.subscribe("a", lambda event: seen.append("other"), name="other")
    await shared_bus.drain(10)
    await _command("pause", "paused", "--dsn", shared_dsn)
    await shared_bus.publish("a")
    await shared_bus.drain(10)
    assert "other" in seen
    assert receipts(shared_dsn) == len(seen)
    await _command("resume", "paused", "--dsn", shared_dsn)
    await shared_bus.publish("a")
    await shared_bus.drain(10)
    assert sorted(seen) == ["other", "other", "paused", "paused"]


async def _command(*arguments: str) -> None:
    """``holdfast`` as an operator calls it."""
    import sys

    code = "import sys; from holdfast.cli import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, env=program_environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


TWICE = """
    import asyncio, sys
    from holdfast import EventBus

    bus = EventBus(sys.argv[1], auto_migrate=True)

    @bus.subscribe("a", name="h")
    async def handle(event):
        print(event.payload, flush=True)

    async def main(n):
        await bus.publish("a", n)
        await bus.drain(10)

    asyncio.run(main(1))
    asyncio.run(main(2))
"""


def test_in_two_loops_one_after_the_other(shared_dsn: str, script: Callable[..., Path]) -> None:
    """The worker of the first loop said no goodbye; the second one need not wait for its leases to end."""
    assert run(script(TWICE), shared_dsn) == "1\n2\n"


async def test_a_timeout_carries_counts(bus: EventBus) -> None:
    stuck = asyncio.Event()

    @bus.subscribe("a", name="stuck")
    async def handle(event: Event) -> None:
        await stuck.wait()

    bus.subscribe("a", lambda event: None, name="fine")
    for _ in range(3):
        await bus.publish("a")
    with pytest.raises(DrainTimeout) as timed_out:
        await bus.drain(0.5)
    assert isinstance(timed_out.value, TimeoutError)
    assert (timed_out.value.timeout, timed_out.value.unsettled) == (0.5, {"stuck": 3})
    assert "stuck: 3" in str(timed_out.value)
    stuck.set()
    await bus.drain(10)


async def test_a_timeout_counts_what_waits_for_its_retry(bus: EventBus) -> None:
    @bus.subscribe("a", name="h", retry=RetryPolicy(base=3600), partitions=1)
    async def handle(event: Event) -> None:
        raise ValueError

    for _ in range(3):
        await bus.publish("a", key="k")
    with pytest.raises(DrainTimeout) as timed_out:
        await bus.drain(1)
    assert timed_out.value.unsettled == {"h": 3}


async def test_a_timeout_counts_what_was_not_even_read(bus: EventBus) -> None:
    stuck = asyncio.Event()

    @bus.subscribe("a", name="h", concurrency=1)
    async def handle(event: Event) -> None:
        await stuck.wait()

    await bus.publish_many([{"name": "a", "payload": n} for n in range(5000)])
    with pytest.raises(DrainTimeout) as timed_out:
        await bus.drain(1)
    assert timed_out.value.unsettled == {"h": 5000}
    stuck.set()


async def test_a_cancelled_drain_is_cancelled_and_leaves_the_bus_usable(bus: EventBus) -> None:
    stuck = asyncio.Event()

    @bus.subscribe("a", name="h")
    async def handle(event: Event) -> None:
        await stuck.wait()

    await bus.publish("a")
    with pytest.raises(TimeoutError) as timed_out:
        async with asyncio.timeout(0.3):
            await bus.drain()
    assert not isinstance(timed_out.value, DrainTimeout)
    stuck.set()
    await bus.drain(10)


async def test_two_drains_at_once(bus: EventBus) -> None:
    seen: list[int] = []
    bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
    await bus.publish_many([{"name": "a", "payload": n} for n in range(50)])
    await asyncio.gather(*(bus.drain(10) for _ in range(3)))
    assert len(seen) == 50


async def test_events_that_come_without_end_do_not_keep_it(bus: EventBus) -> None:
    """It waits for what is stored when it is called, not for what others go on publishing."""
    going = True
    bus.subscribe("a", lambda event: None, name="h")

    async def flood() -> None:
        while going:
            await bus.publish("a")

    async with bus:
        flooding = asyncio.create_task(flood())
        await bus.drain(20)
        going = False
        await flooding
        await until(flooding.done)
