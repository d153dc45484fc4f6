"""Stopping: what runs may finish, what waits goes back, nothing is lost, no attempt is burned."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import Delivery, Event, EventBus, RetryPolicy

from .waiting import complaints, program_environment, receipts, sql, until, until_sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("batch", [None, 3])
async def test_what_waited_at_a_stop_is_handled_after_it(
    shared_dsn: str, make_bus: Callable[..., EventBus], batch: int | None
) -> None:
    """Read, put into lanes, and never begun: it must come back, each event once."""
    seen: list[int] = []
    entered, go = asyncio.Event(), asyncio.Event()

    async def handle(given: Any) -> None:
        entered.set()
        await go.wait()
        if not ended:
            go.clear()  # one call at a time, until the bus has ended
        seen.extend(event.payload for event in (given if isinstance(given, list) else [given]))

    ended = False
    bus = make_bus(shared_dsn)
    bus.subscribe("a", handle, name="h", concurrency=1, batch=batch)
    await bus.publish_many([{"name": "a", "payload": n, "key": f"k{n % 3}" if n % 2 else None} for n in range(60)])
    async with bus:
        await entered.wait()
        asyncio.get_running_loop().call_later(0.1, go.set)
    ended = True
    go.set()
    assert 1 <= len(seen) < 10
    again = make_bus(shared_dsn)
    again.subscribe("a", handle, name="h", concurrency=1, batch=batch)
    await again.drain(10)
    assert sorted(seen) == list(range(60))
    assert sql(shared_dsn, "select distinct attempts from event_consumers") == [(1,)]


async def test_a_running_handler_may_finish_and_has_its_receipt(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def handle(event: Event) -> None:
        entered.set()
        await go.wait()

    bus = make_bus(shared_dsn)
    bus.subscribe("a", handle, name="h")
    await bus.publish("a")
    async with bus:
        await entered.wait()
        asyncio.get_running_loop().call_later(0.1, go.set)
    assert receipts(shared_dsn) == 1


@pytest.mark.parametrize("is_async", [True, False])
async def test_beyond_the_grace_a_handler_is_cancelled_and_its_attempt_not_counted(
    shared_dsn: str, make_bus: Callable[..., EventBus], is_async: bool
) -> None:
    attempts: list[int] = []
    go = threading.Event()

    async def handle_async(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            await asyncio.sleep(60)

    def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            go.wait(30)

    first = make_bus(shared_dsn, stop_timeout=0.1)
    first.subscribe("a", handle_async if is_async else handle, name="h")
    await first.publish("a")
    async with first:
        await until(lambda: attempts)
    go.set()
    assert receipts(shared_dsn) == 0
    second = make_bus(shared_dsn)
    second.subscribe("a", handle_async if is_async else handle, name="h")
    await second.drain(15)
    assert attempts == [1, 1]
    assert receipts(shared_dsn) == 1


async def test_retries_that_wait_are_kept(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    attempts: list[int] = []

    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            raise ValueError

    first = make_bus(shared_dsn)
    first.subscribe("a", handle, name="h", retry=RetryPolicy(base=1))
    await first.publish("a")
    async with first:
        await until(lambda: attempts)
    second = make_bus(shared_dsn)
    second.subscribe("a", handle, name="h", retry=RetryPolicy(base=1))
    await second.drain(10)
    assert attempts == [1, 2]


async def test_a_stop_in_the_midst_of_many_loses_nothing_and_repeats_nothing(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    seen: list[int] = []

    async def handle(event: Event) -> None:
        await asyncio.sleep(0)
        if event.payload % 50 == 0 and event.payload not in failed:
            failed.add(event.payload)
            raise ValueError
        seen.append(event.payload)

    failed: set[int] = set()
    publisher = make_bus(shared_dsn)
    publisher.subscribe("a", handle, name="h")
    await publisher.publish_many([{"name": "a", "payload": n, "key": f"k{n % 7}"} for n in range(700)])
    for enough in (100, 300, 500):
        bus = make_bus(shared_dsn)
        bus.subscribe("a", handle, name="h", concurrency=3, retry=RetryPolicy(base=0.05), breaker=None)
        async with bus:
            await until(lambda enough=enough: len(seen) > enough)
    last = make_bus(shared_dsn)
    last.subscribe("a", handle, name="h", retry=RetryPolicy(base=0.05), breaker=None)
    await last.drain(20)
    assert sorted(seen) == list(range(700))
    for key in range(7):
        assert [n for n in seen if n % 7 == key] == [n for n in range(700) if n % 7 == key]


async def test_async_with_starts_and_stops_as_often_as_one_likes(bus: EventBus) -> None:
    seen: list[int] = []
    bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
    if bus.dsn == "sqlite://":
        async with bus:
            await bus.publish("a", 0)
            await until(lambda: seen == [0])
        return
    for n in range(3):
        async with bus:
            await bus.publish("a", n)
            await until(lambda n=n: len(seen) == n + 1)
    assert seen == [0, 1, 2]


async def test_an_exception_inside_async_with_goes_out_and_the_bus_is_closed(bus: EventBus) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with bus:
            raise LookupError("mine")
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert tasks == []


async def test_closing_leaves_no_tasks(bus: EventBus) -> None:
    bus.subscribe("a", lambda event: None, name="h")
    async with bus:
        await bus.publish("a")
        await bus.drain(10)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_handler_may_close_its_bus(bus: EventBus) -> None:
    """Not a good idea, but no reason to hang."""
    closed = asyncio.Event()

    @bus.subscribe("a", name="h")
    async def handle(event: Event) -> None:
        task = asyncio.create_task(bus.close())
        task.add_done_callback(lambda _: closed.set())

    async with bus:
        await bus.publish("a")
        await asyncio.wait_for(closed.wait(), 15)


async def test_a_stop_leaves_the_partitions_to_others_at_once(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    seen: list[str] = []
    first, second = make_bus(shared_dsn), make_bus(shared_dsn)
    first.subscribe("a", lambda event: seen.append("first"), name="h")
    second.subscribe("a", lambda event: seen.append("second"), name="h")
    async with first:
        await first.publish("a")
        await until(lambda: seen)
    assert sql(shared_dsn, "select count(*) from leases where owner is not null") == [(0,)]
    assert sql(shared_dsn, "select count(*) from workers") == [(0,)]
    await second.publish("a")
    await second.drain(5)
    assert seen == ["first", "second"]


# ---- a program that is told to end

WORKER = """
    import asyncio, sys
    from holdfast import EventBus

    bus = EventBus(sys.argv[1], auto_migrate=True, stop_timeout=float(sys.argv[2]))

    @bus.subscribe("a", name="h", concurrency=1, start="beginning")
    async def handle(event):
        print("began", event.payload, flush=True)
        try:
            await asyncio.to_thread(sys.stdin.readline)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise
        print("ended", event.payload, flush=True)

    asyncio.run(bus.run())
    print("over", flush=True)
"""


def started(script: Callable[..., Path], dsn: str, grace: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(script(WORKER, "worker")), dsn, str(grace)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        env=program_environment(),
    )  # fmt: skip


async def publish(dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(dsn)
    for n in range(5):
        await bus.publish("a", n)
    await bus.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_running_handler_finish_and_hands_the_rest_back(
    shared_dsn: str, make_bus: Callable[..., EventBus], script: Callable[..., Path], number: signal.Signals
) -> None:
    await publish(shared_dsn, make_bus)
    with started(script, shared_dsn, 20) as process:
        first = await asyncio.to_thread(line, process)
        assert first.startswith("began")
        process.send_signal(number)
        # Only once it says that it ends may the handler go on, or it would begin the next event.
        ending = "draining" if "postgres" in shared_dsn else "draining = 1"
        await until(lambda: sql(shared_dsn, f"select 1 from workers where {ending}"))
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        output, errors = await asyncio.to_thread(process.communicate, timeout=20)
    assert (process.returncode, complaints(errors)) == (0, "")
    assert output.split("\n") == [first.replace("began", "ended"), "over", ""]
    assert receipts(shared_dsn) == 1
    assert sql(shared_dsn, "select count(*) from leases where owner is not null") == [(0,)]
    attempts: list[int] = []
    bus = make_bus(shared_dsn)
    bus.subscribe("a", lambda event, delivery: attempts.append(delivery.attempt), name="h")
    await bus.drain(10)
    assert attempts == [1, 1, 1, 1]


async def test_after_the_grace_the_handler_is_cancelled_and_the_program_still_ends_well(
    shared_dsn: str, make_bus: Callable[..., EventBus], script: Callable[..., Path]
) -> None:
    await publish(shared_dsn, make_bus)
    with started(script, shared_dsn, 0.2) as process:
        await asyncio.to_thread(line, process)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(line, process) == "cancelled"
        assert process.stdin is not None
        process.stdin.close()  # the thread that reads it must end, or the interpreter waits for it
        process.stdin = None
        _, errors = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 0, errors
    attempts: list[int] = []
    bus = make_bus(shared_dsn)
    bus.subscribe("a", lambda event, delivery: attempts.append(delivery.attempt), name="h")
    await bus.drain(10)
    assert attempts == [1] * 5


async def test_a_second_signal_aborts(
    shared_dsn: str, make_bus: Callable[..., EventBus], script: Callable[..., Path]
) -> None:
    await publish(shared_dsn, make_bus)
    with started(script, shared_dsn, 60) as process:
        await asyncio.to_thread(line, process)
        process.send_signal(signal.SIGTERM)
        heard = time.monotonic()
        await asyncio.to_thread(until_sync, lambda: time.monotonic() > heard + 0.2)  # sooner it would be the same one
        process.send_signal(signal.SIGTERM)
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        output, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode != 0
    # The end of its input may reach the program before the signal does: then it went on for a moment.
    ended = {int(text.split()[1]) for text in output.splitlines() if text.startswith("ended")}
    bus = make_bus(shared_dsn)
    seen: list[int] = []
    bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
    await bus.drain(15)
    assert {*range(5)} <= ended | set(seen)


async def test_run_works_until_it_is_told_to_stop_and_can_be_cancelled(bus: EventBus) -> None:
    seen: list[int] = []
    bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
    running = asyncio.create_task(bus.run())
    await bus.publish("a", 1)
    await until(lambda: seen == [1])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 15)
    await bus.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
