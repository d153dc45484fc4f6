"""Handling: what a handler is given, what it may raise, what follows, and what one event keeps from the next."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import sqlite3
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import Delivery, Event, EventBus, Reject, Retry, RetryPolicy
from holdfast.errors import BusStateError, InvalidSubscription

from .waiting import sql, until

if TYPE_CHECKING:
    from collections.abc import Callable

FAST = RetryPolicy(base=0.01)
ONCE = RetryPolicy(max_attempts=1)
DEAD = "holdfast.delivery.dead"


class Flaw(Exception):
    """What handlers here fail with."""


def letters_of(bus: EventBus) -> list[dict[str, Any]]:
    """The payloads of events about dead deliveries, as they come."""
    found: list[dict[str, Any]] = []

    async def letter(event: Event) -> None:
        found.append(event.payload)

    bus.subscribe(DEAD, letter, name="letters")
    return found


# ---- what a handler is given


async def test_a_second_argument_is_the_delivery(bus: EventBus) -> None:
    seen: list[tuple[Event, Delivery]] = []

    @bus.subscribe("a", name="h", retry=FAST)
    async def handle(event: Event, delivery: Delivery) -> None:
        seen.append((event, delivery))
        if delivery.attempt < 3:
            raise Flaw

    published = await bus.publish("a", {"x": 1})
    await bus.drain(10)
    assert [delivery.attempt for _, delivery in seen] == [1, 2, 3]
    for event, delivery in seen:
        assert isinstance(delivery, Delivery)
        assert delivery.event == event
        assert event.id == published.event_id
        assert (delivery.subscription, delivery.is_replay, delivery.connection) == ("h", False, None)
        assert delivery.epoch >= 1
    assert len({delivery.idempotency_key for _, delivery in seen}) == 1


async def test_the_idempotency_key_differs_between_events_and_subscriptions(bus: EventBus) -> None:
    keys: list[str] = []
    for name in ("one", "two"):

        @bus.subscribe("a", name=name)
        def handle(event: Event, delivery: Delivery) -> None:
            keys.append(delivery.idempotency_key)

    await bus.publish("a")
    await bus.publish("a")
    await bus.drain(10)
    assert len(set(keys)) == len(keys) == 4


class Counter:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def handle(self, event: Event, delivery: Delivery) -> None:
        self.seen.append(delivery.subscription)

    def __call__(self, event: Event) -> None:
        self.seen.append(event.payload)


async def test_methods_and_callable_objects_are_handlers(bus: EventBus) -> None:
    counter = Counter()
    bus.subscribe("a", counter.handle, name="method")
    bus.subscribe("a", counter, name="object")
    await bus.publish("a", 1)
    await bus.drain(10)
    assert sorted(counter.seen, key=str) == [1, "method"]


async def test_a_plain_function_that_returns_an_awaitable_is_awaited(bus: EventBus) -> None:
    handled: list[Any] = []

    async def work(event: Event) -> None:
        await asyncio.sleep(0)
        handled.append(event.payload)

    def wrapper(event: Event) -> Any:
        return work(event)

    bus.subscribe("a", wrapper, name="h")
    await bus.publish("a", 1)
    await bus.drain(10)
    assert handled == [1]


# ---- Retry and Reject


async def test_retry_is_later_and_not_counted(bus: EventBus) -> None:
    attempts: list[int] = []

    @bus.subscribe("a", name="h", retry=RetryPolicy(max_attempts=2, base=0.01))
    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) <= 10:
            raise Retry(after=0)
        if len(attempts) == 11:
            raise Flaw

    dead = letters_of(bus)
    await bus.publish("a")
    await bus.drain(20)
    assert attempts == [1] * 11 + [2]
    assert dead == []


async def test_retry_waits_as_long_as_it_says(bus: EventBus) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()

    @bus.subscribe("a", name="h", retry=RetryPolicy(base=100))
    async def handle(event: Event) -> None:
        times.append(loop.time())
        if len(times) == 1:
            raise Retry(after=0.3)

    await bus.publish("a")
    await bus.drain(10)
    assert 0.29 < times[1] - times[0] < 3


async def test_retry_without_a_time_waits_as_after_a_first_failure(bus: EventBus) -> None:
    runs = 0

    @bus.subscribe("a", name="h", retry=RetryPolicy(base=0.05))
    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise Retry

    await bus.publish("a")
    await bus.drain(10)
    assert runs == 3


async def test_retry_ends_dead_after_a_thousand_times(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    """The first 990 are written down, so that nobody has to wait for them."""
    runs, pause = 0, 3600.0

    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        raise Retry(after=pause)

    first = make_bus(shared_dsn)
    first.subscribe("a", handle, name="h")
    async with first:
        await first.publish("a")
        await until(lambda: sql(shared_dsn, "select 1 from deliveries where put_offs = 1"))
    sql(shared_dsn, "update deliveries set put_offs = 990, due_at = created_at")
    runs, pause = 0, 0.0
    second = make_bus(shared_dsn)
    second.subscribe("a", handle, name="h")
    dead = letters_of(second)
    await second.drain(20)
    assert runs == 11
    assert "1000" in dead[0]["error"]


async def test_reject_is_dead_at_once_with_its_reason(bus: EventBus) -> None:
    runs = 0

    @bus.subscribe("a", name="h", retry=FAST)
    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        raise Reject("no such customer")

    dead = letters_of(bus)
    published = await bus.publish("a", tenant_id="acme", key="k")
    await bus.drain(10)
    assert runs == 1
    assert dead == [
        {"event_id": str(published.event_id), "event_name": "a", "subscription": "h", "attempts": 1,
         "error": "no such customer"}
    ]  # fmt: skip


async def test_retry_and_reject_from_a_plain_function(bus: EventBus) -> None:
    runs = 0

    @bus.subscribe("a", name="h")
    def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        raise Retry(after=0) if runs < 3 else Reject("enough")

    dead = letters_of(bus)
    await bus.publish("a")
    await bus.drain(10)
    assert (runs, dead[0]["error"]) == (3, "enough")


# ---- other errors


async def test_it_is_dead_after_the_last_attempt_and_an_event_tells(shared_bus: EventBus, shared_dsn: str) -> None:
    runs = 0

    @shared_bus.subscribe("a", name="h", retry=RetryPolicy(max_attempts=3, base=0.01))
    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        raise Flaw(f"number {runs}")

    dead = letters_of(shared_bus)
    published = await shared_bus.publish("a", tenant_id="acme", key="k", headers={"correlation_id": "c"})
    await shared_bus.drain(10)
    assert runs == 3
    assert dead == [
        {"event_id": str(published.event_id), "event_name": "a", "subscription": "h", "attempts": 3,
         "error": "Flaw: number 3"}
    ]  # fmt: skip
    states = dict(sql(shared_dsn, "select event_name, status from event_store"))
    assert states == {"a": "dead", DEAD: "processed"}
    assert sql(shared_dsn, "select retries from event_store where event_name = 'a'") == [(3,)]


async def test_the_dead_letter_carries_tenant_key_and_lineage(bus: EventBus) -> None:
    letters: list[Event] = []

    @bus.subscribe(DEAD, name="letters")
    async def letter(event: Event) -> None:
        letters.append(event)

    @bus.subscribe("a", name="h")
    async def handle(event: Event) -> None:
        raise Reject

    published = await bus.publish("a", tenant_id="acme", key="k", headers={"correlation_id": "c"})
    await bus.drain(10)
    (event,) = letters
    assert (event.tenant_id, event.key, event.correlation_id, event.causation_id) == (
        "acme", "k", "c", str(published.event_id),
    )  # fmt: skip


async def test_no_letter_about_a_letter(shared_bus: EventBus, shared_dsn: str) -> None:
    @shared_bus.subscribe("**", name="h", retry=ONCE, breaker=None)
    async def handle(event: Event) -> None:
        raise Flaw

    await shared_bus.publish("a")
    await shared_bus.drain(10)
    assert sql(shared_dsn, "select event_name, status from event_store order by event_name") == [
        ("a", "dead"), (DEAD, "dead"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, GeneratorExit, StopAsyncIteration, TimeoutError, MemoryError]
)
async def test_every_kind_of_error_is_a_failed_attempt(bus: EventBus, error: type[BaseException]) -> None:
    attempts: list[int] = []

    @bus.subscribe("a", name="h", retry=FAST)
    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            raise error

    await bus.publish("a")
    await bus.drain(10)
    assert attempts == [1, 2]


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, StopIteration, TimeoutError])
async def test_every_kind_of_error_of_a_plain_function_too(bus: EventBus, error: type[BaseException]) -> None:
    attempts: list[int] = []

    @bus.subscribe("a", name="h", retry=FAST)
    def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            raise error

    await bus.publish("a")
    await bus.drain(10)
    assert attempts == [1, 2]


async def test_a_handler_that_cancels_itself_has_failed(bus: EventBus) -> None:
    attempts: list[int] = []

    @bus.subscribe("a", name="h", retry=FAST, concurrency=1)
    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)

    await bus.publish("a")
    await bus.drain(10)
    assert attempts == [1, 2]


async def test_a_handler_may_cancel_and_await_tasks_of_its_own(bus: EventBus) -> None:
    attempts: list[int] = []

    @bus.subscribe("a", name="h", retry=FAST)
    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        with pytest.raises(ExceptionGroup):
            await _group_that_fails()

    await bus.publish("a")
    await bus.drain(10)
    assert attempts == [1]


async def _group_that_fails() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail())
        await asyncio.sleep(60)


async def _fail() -> None:
    raise Flaw


async def test_an_error_whose_text_cannot_be_had_or_stored_is_an_error(bus: EventBus) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise Flaw

    errors = [Mute(), Flaw("nul \x00"), Flaw("lone \ud800"), Flaw("x" * 100_000), Flaw(b"\xff")]

    @bus.subscribe("a", name="h", retry=ONCE, breaker=None)
    async def handle(event: Event) -> None:
        raise errors[event.payload]

    dead = letters_of(bus)
    for n in range(len(errors)):
        await bus.publish("a", n)
    await bus.drain(10)
    assert len(dead) == len(errors)


async def test_attempts_are_spaced_by_the_policy(bus: EventBus) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()

    @bus.subscribe("a", name="h", retry=RetryPolicy(max_attempts=4, base=0.4, max_delay=0.3))
    async def handle(event: Event) -> None:
        times.append(loop.time())
        raise Flaw

    await bus.publish("a")
    await bus.drain(10)
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    for wait, least in zip(waits, (0.3, 0.16, 0.064), strict=True):
        assert least * 0.98 < wait < least * 1.1 + 1


async def test_only_some_errors_are_retried(bus: EventBus) -> None:
    runs: dict[str, int] = defaultdict(int)

    def handler(error: type[Exception]) -> Callable[[Event], None]:
        def handle(event: Event) -> None:
            runs[f"{event.name} {error.__name__}"] += 1
            raise error

        return handle

    only = RetryPolicy(max_attempts=3, base=0.01, retry_on=(OSError,))
    never = RetryPolicy(max_attempts=3, base=0.01, give_up_on=(LookupError,))
    for error in (ConnectionError, KeyError):
        bus.subscribe("only", handler(error), name=f"only-{error.__name__}", retry=only)
        bus.subscribe("never", handler(error), name=f"never-{error.__name__}", retry=never)
    await bus.publish("only")
    await bus.publish("never")
    await bus.drain(10)
    assert runs == {"only ConnectionError": 3, "only KeyError": 1, "never ConnectionError": 3, "never KeyError": 1}


async def test_lists_and_single_classes_of_errors_work_or_are_refused(bus: EventBus) -> None:
    policy = RetryPolicy(max_attempts=3, base=0.01, give_up_on=[KeyError])  # type: ignore[arg-type]
    runs = 0

    @bus.subscribe("a", name="h", retry=policy)
    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        raise KeyError

    await bus.publish("a")
    await bus.drain(10)
    assert runs == 1
    with pytest.raises(InvalidSubscription, match="retry_on"):
        RetryPolicy(retry_on=KeyError)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("is_async", [True, False])
async def test_system_exit_stops_the_worker_and_counts_the_attempt(
    shared_dsn: str, make_bus: Callable[..., EventBus], error: type[BaseException], is_async: bool
) -> None:
    attempts: list[int] = []

    def subscribe(bus: EventBus) -> None:
        def act(event: Event, delivery: Delivery) -> None:
            attempts.append(delivery.attempt)
            if delivery.attempt == 1:
                raise error(7)

        async def act_async(event: Event, delivery: Delivery) -> None:
            act(event, delivery)

        bus.subscribe("a", act_async if is_async else act, name="h", retry=FAST)

    first = make_bus(shared_dsn)
    subscribe(first)
    await first.publish("a")
    async with asyncio.timeout(15):
        with pytest.raises(error):
            await first.run()
    assert attempts == [1]
    second = make_bus(shared_dsn)
    subscribe(second)
    await second.drain(10)
    assert attempts == [1, 2]


async def test_system_exit_stops_an_embedded_worker_too(bus: EventBus) -> None:
    """It handles nothing more, and who waits for it is told."""
    handled: list[Any] = []

    @bus.subscribe("a", name="h", concurrency=1, retry=RetryPolicy(base=3600))
    async def handle(event: Event) -> None:
        if event.payload == "end":
            raise SystemExit(7)
        handled.append(event.payload)

    async with bus:
        await bus.publish("a", 1)
        await until(lambda: handled == [1])
        await bus.publish("a", "end")
        async with asyncio.timeout(15):
            with pytest.raises(BusStateError, match="stopped"):
                await bus.drain()


# ---- plain functions in threads


async def test_plain_functions_run_in_threads_that_are_bounded(bus: EventBus) -> None:
    running = most = 0
    lock, full, go = threading.Lock(), threading.Event(), threading.Event()
    names: set[str] = set()

    @bus.subscribe("a", name="h", concurrency=3)
    def handle(event: Event) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            names.add(threading.current_thread().name)
            if running == 3:
                full.set()
        assert go.wait(10)
        with lock:
            running -= 1

    async with bus:
        for _ in range(12):
            await bus.publish("a")
        await until(full.is_set)
        assert threading.current_thread().name not in names
        go.set()
        await bus.drain(10)
    assert most == 3


async def test_a_plain_function_does_not_block_the_loop(bus: EventBus) -> None:
    go = threading.Event()

    @bus.subscribe("a", name="slow")
    def slow(event: Event) -> None:
        assert go.wait(10)

    @bus.subscribe("a", name="quick")
    async def quick(event: Event) -> None:
        go.set()

    await bus.publish("a")
    await bus.drain(10)
    assert go.is_set()


async def test_concurrency_bounds_async_handlers_and_is_reached(bus: EventBus) -> None:
    running = most = 0
    go = asyncio.Event()

    @bus.subscribe("a", name="h", concurrency=5)
    async def handle(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 5:
            go.set()
        await go.wait()
        await asyncio.sleep(0)
        running -= 1

    await bus.publish_many([{"name": "a", "payload": n} for n in range(50)])
    await bus.drain(10)
    assert most == 5


# ---- timeouts


async def test_an_attempt_that_takes_too_long_has_failed(bus: EventBus) -> None:
    attempts: list[int] = []

    @bus.subscribe("a", name="h", timeout=0.05, retry=RetryPolicy(max_attempts=2, base=0.01), concurrency=1)
    async def handle(event: Event, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if event.payload == "slow":
            await asyncio.sleep(60)

    dead = letters_of(bus)
    await bus.publish("a", "slow")
    await bus.publish("a", "quick")
    await bus.drain(10)
    assert sorted(attempts) == [1, 1, 2]
    assert [letter["attempts"] for letter in dead] == [2]
    assert "0.05" in dead[0]["error"]


async def test_a_handler_that_swallows_the_cancel_of_its_timeout_has_failed_too(bus: EventBus) -> None:
    runs = 0

    @bus.subscribe("a", name="h", timeout=0.05, retry=ONCE, concurrency=1)
    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        if event.payload == "slow":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return

    dead = letters_of(bus)
    for payload in ("slow", "quick", "slow", "quick"):
        await bus.publish("a", payload)
    await bus.drain(10)
    assert (runs, len(dead)) == (4, 2)


async def test_a_plain_functions_key_stays_held_until_its_thread_has_returned(bus: EventBus) -> None:
    go, seen = threading.Event(), []

    @bus.subscribe("a", name="h", timeout=0.05, retry=ONCE, concurrency=4)
    def handle(event: Event) -> None:
        if event.payload == "stuck":
            assert go.wait(10)
        seen.append(event.payload)

    dead = letters_of(bus)
    async with bus:
        await bus.publish("a", "stuck", key="k")
        await bus.publish("a", "behind", key="k")
        await bus.publish("a", "other", key="l")
        await until(lambda: dead)
        await until(lambda: "other" in seen)
        await bus.publish("a", "another", key="l")
        await until(lambda: "another" in seen)
        assert "behind" not in seen
        go.set()
        await bus.drain(10)
    assert seen[:2] == ["other", "another"]
    assert seen[2:] == ["stuck", "behind"]


async def test_a_retry_does_not_run_beside_the_thread_of_the_attempt_before(bus: EventBus) -> None:
    running = most = runs = 0
    go, lock = threading.Event(), threading.Lock()

    @bus.subscribe("a", name="h", timeout=0.05, retry=RetryPolicy(max_attempts=3, base=0.01), concurrency=4)
    def handle(event: Event) -> None:
        nonlocal running, most, runs
        with lock:
            running, runs = running + 1, runs + 1
            most = max(most, running)
        if runs == 1:
            assert go.wait(10)
        with lock:
            running -= 1

    async with bus:
        await bus.publish("a", key="k")
        await until(lambda: runs)
        asyncio.get_running_loop().call_later(0.4, go.set)
        await bus.drain(10)
    assert (runs, most) == (2, 1)


# ---- batches


async def test_a_batch_handler_gets_lists(bus: EventBus) -> None:
    sizes: list[int] = []
    seen: list[int] = []

    @bus.subscribe("a", name="h", batch=10, concurrency=1, partitions=1)
    async def handle(events: list[Event]) -> None:
        assert isinstance(events, list)
        sizes.append(len(events))
        seen.extend(event.payload for event in events)

    await bus.publish_many([{"name": "a", "payload": n, "key": "k"} for n in range(95)])
    await bus.drain(10)
    assert seen == list(range(95))
    assert max(sizes) == 10
    assert sum(sizes) == 95
    assert len(sizes) < 30


async def test_batches_keep_the_order_of_each_key_and_never_share_one(bus: EventBus) -> None:
    seen: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()

    @bus.subscribe("a", name="h", batch=7, concurrency=8, retry=FAST, breaker=None)
    async def handle(events: list[Event], deliveries: list[Delivery]) -> None:
        keys = {str(event.key) for event in events}
        assert not keys & running, "two batches have the same key at once"
        running.update(keys)
        await asyncio.sleep(0)
        running.difference_update(keys)
        if any(
            event.payload % 10 == 3 and delivery.attempt == 1
            for event, delivery in zip(events, deliveries, strict=True)
        ):
            raise Flaw
        for event in events:
            seen[str(event.key)].append(event.payload)

    await bus.publish_many([{"name": "a", "payload": n, "key": f"k{n % 5}"} for n in range(200)])
    await bus.drain(20)
    assert dict(seen) == {f"k{k}": [n for n in range(200) if n % 5 == k] for k in range(5)}


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_failed_batch_is_bisected_to_its_poison_member(bus: EventBus, is_async: bool) -> None:
    handled: list[int] = []
    runs = 0

    def act(events: list[Event]) -> None:
        nonlocal runs
        runs += 1
        if any(event.payload == 13 for event in events):
            raise Flaw("unlucky")
        handled.extend(event.payload for event in events)

    async def act_async(events: list[Event]) -> None:
        act(events)

    bus.subscribe("a", act_async if is_async else act, name="h", batch=32, retry=ONCE)
    dead = letters_of(bus)
    await bus.publish_many([{"name": "a", "payload": n} for n in range(32)])
    await bus.drain(10)
    assert sorted(handled) == [n for n in range(32) if n != 13]
    assert [letter["error"] for letter in dead] == ["Flaw: unlucky"]
    assert runs <= 1 + 2 * 5 + 8


async def test_a_batch_that_takes_too_long_is_bisected(bus: EventBus) -> None:
    handled: list[int] = []

    @bus.subscribe("a", name="h", batch=4, timeout=0.1, retry=ONCE, concurrency=1)
    async def handle(events: list[Event]) -> None:
        if any(event.payload == 2 for event in events):
            await asyncio.sleep(60)
        handled.extend(event.payload for event in events)

    dead = letters_of(bus)
    await bus.publish_many([{"name": "a", "payload": n} for n in range(4)])
    await bus.drain(15)
    assert (sorted(handled), len(dead)) == ([0, 1, 3], 1)


async def test_reject_and_retry_in_a_batch_concern_the_member_that_raises_alone(bus: EventBus) -> None:
    handled: list[int] = []
    put_off = 0

    @bus.subscribe("a", name="h", batch=8)
    async def handle(events: list[Event]) -> None:
        nonlocal put_off
        payloads = [event.payload for event in events]
        if 3 in payloads:
            raise Reject("never")
        if 5 in payloads and put_off < 6:
            put_off += 1
            raise Retry(after=0)
        handled.extend(payloads)

    dead = letters_of(bus)
    await bus.publish_many([{"name": "a", "payload": n} for n in range(8)])
    await bus.drain(10)
    assert sorted(handled) == [0, 1, 2, 4, 5, 6, 7]
    assert [letter["error"] for letter in dead] == ["never"]


# ---- order


@pytest.mark.parametrize("is_async", [True, False])
async def test_events_of_a_key_run_one_at_a_time_in_order_through_retries(bus: EventBus, is_async: bool) -> None:
    completed: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()
    lock = threading.Lock()

    def act(event: Event, delivery: Delivery) -> None:
        key = str(event.key)
        with lock:
            assert key not in running, f"two at once of {key}"
            running.add(key)
        with lock:
            running.discard(key)
        if event.payload % 7 == 0 and delivery.attempt < 3:
            raise Flaw
        completed[key].append(event.payload)

    async def act_async(event: Event, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        act(event, delivery)

    bus.subscribe("a", act_async if is_async else act, name="h", retry=FAST, breaker=None)
    async with bus:
        for start in range(0, 120, 40):
            await bus.publish_many([{"name": "a", "payload": n, "key": f"k{n % 4}"} for n in range(start, start + 40)])
        await bus.drain(30)
    for k in range(4):
        assert completed[f"k{k}"] == [n for n in range(120) if n % 4 == k]


async def test_a_failing_key_does_not_hold_up_the_others(bus: EventBus) -> None:
    handled: list[str] = []

    @bus.subscribe("a", name="h", retry=RetryPolicy(base=3600), partitions=1, concurrency=1)
    async def handle(event: Event) -> None:
        if event.key == "bad":
            raise Flaw
        handled.append(str(event.key))

    async with bus:
        await bus.publish("a", key="bad")
        for n in range(20):
            await bus.publish("a", key=f"k{n}")
            await bus.publish("a", key="bad")
        await until(lambda: len(handled) == 20)


async def test_the_same_key_of_two_tenants_is_two_keys(bus: EventBus) -> None:
    handled: list[str] = []

    @bus.subscribe("a", name="h", retry=RetryPolicy(base=3600), partitions=1)
    async def handle(event: Event) -> None:
        if event.tenant_id == "bad":
            raise Flaw
        handled.append(event.tenant_id)

    async with bus:
        await bus.publish("a", key="k", tenant_id="bad")
        await bus.publish("a", key="k", tenant_id="good")
        await until(lambda: handled == ["good"])


async def test_without_ordering_a_key_holds_nothing_up(bus: EventBus) -> None:
    handled: list[int] = []
    go = asyncio.Event()

    @bus.subscribe("a", name="h", ordering="none", retry=RetryPolicy(base=3600))
    async def handle(event: Event) -> None:
        if event.payload == 0:
            await go.wait()
            raise Flaw
        handled.append(event.payload)

    async with bus:
        for n in range(5):
            await bus.publish("a", n, key="k")
        await until(lambda: sorted(handled) == [1, 2, 3, 4])
        go.set()
        await bus.publish("a", 5, key="k")
        await until(lambda: 5 in handled)


async def test_behind_a_dead_event_a_key_goes_on(bus: EventBus) -> None:
    handled: list[int] = []

    @bus.subscribe("a", name="h", retry=ONCE)
    async def handle(event: Event) -> None:
        if event.payload == 1:
            raise Flaw
        handled.append(event.payload)

    for n in range(4):
        await bus.publish("a", n, key="k")
    await bus.drain(10)
    assert handled == [0, 2, 3]


@pytest.mark.parametrize("batch", [None, 4])
async def test_behind_a_dead_event_a_key_is_held_if_asked_for(
    shared_bus: EventBus, shared_dsn: str, batch: int | None
) -> None:
    handled: list[int] = []

    async def handle(given: Any) -> None:
        events = given if isinstance(given, list) else [given]
        if any(event.payload == 1 for event in events):
            raise Flaw
        handled.extend(event.payload for event in events)

    shared_bus.subscribe("a", handle, name="h", retry=ONCE, on_dead="hold", batch=batch)
    async with shared_bus:
        for n in range(4):
            await shared_bus.publish("a", n, key="k")
        await shared_bus.publish("a", 10, key="other")
        await until(lambda: sorted(handled) == [0, 10])
        await until(lambda: len(sql(shared_dsn, "select 1 from deliveries")) == 3)
        await shared_bus.publish("a", 11, key="other")
        await until(lambda: 11 in handled)
    assert sorted(handled) == [0, 10, 11]
    states = sql(shared_dsn, "select state from deliveries order by id")
    assert states == [("dead",), ("pending",), ("pending",)]


# ---- what one event keeps from the next

STAMP: contextvars.ContextVar[str] = contextvars.ContextVar("stamp", default="clean")


@pytest.mark.parametrize("kind", ["async", "sync", "wrapped"])
async def test_context_variables_do_not_leak_into_the_next_event(bus: EventBus, kind: str) -> None:
    seen: list[str] = []

    def act(event: Event) -> None:
        seen.append(STAMP.get())
        STAMP.set(f"dirty {event.payload}")

    async def act_async(event: Event) -> None:
        act(event)
        await asyncio.sleep(0)
        assert STAMP.get() == f"dirty {event.payload}"
        task = asyncio.create_task(_stamp())
        assert await task == f"dirty {event.payload}"

    def wrapper(event: Event) -> Any:
        return act_async(event)

    handlers = {"async": act_async, "sync": act, "wrapped": wrapper}
    bus.subscribe("a", handlers[kind], name="h", concurrency=1)
    for n in range(5):
        await bus.publish("a", n)
    await bus.drain(10)
    assert seen == ["clean"] * 5
    assert STAMP.get() == "clean"


async def _stamp() -> str:
    return STAMP.get()


# ---- breaker


async def test_after_many_different_failures_the_breaker_pauses_and_burns_no_attempts(
    shared_bus: EventBus, shared_dsn: str
) -> None:
    runs = 0

    @shared_bus.subscribe("a", name="h", breaker=5, concurrency=1, retry=RetryPolicy(base=3600))
    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        raise Flaw

    async with shared_bus:
        for n in range(30):
            await shared_bus.publish("a", n)
        await until(lambda: runs == 5)
        await until(lambda: len(sql(shared_dsn, "select 1 from deliveries")) == 5)
        for n in range(10):
            await shared_bus.publish("b", n)
        # An operator sees why nothing moves.
        ((known,),) = sql(shared_dsn, "select id from subscriptions")
        await until(lambda: str(known) in str(sql(shared_dsn, "select tripped from workers")))
        assert runs == 5


async def test_the_breaker_lets_a_probe_through_and_closes(make_bus: Callable[..., EventBus]) -> None:
    """Also when nothing is in hand any more: every event waits for its retry."""
    bus = make_bus("sqlite://")
    broken, handled, runs = True, [], 0

    @bus.subscribe("a", name="h", breaker=5, retry=RetryPolicy(base=0.1))
    async def handle(event: Event) -> None:
        nonlocal runs
        runs += 1
        if broken:
            raise Flaw
        handled.append(event.payload)

    async with bus:
        for n in range(5):
            await bus.publish("a", n)
        await until(lambda: runs == 5)
        broken = False
        await bus.drain(15)
    assert sorted(handled) == [0, 1, 2, 3, 4]
    assert runs == 10


async def test_one_event_that_fails_again_and_again_trips_no_breaker(bus: EventBus) -> None:
    handled: list[int] = []

    @bus.subscribe("a", name="h", breaker=3, retry=RetryPolicy(max_attempts=8, base=0.01), concurrency=1)
    async def handle(event: Event) -> None:
        if event.payload == "bad":
            raise Flaw
        handled.append(event.payload)

    await bus.publish("a", "bad")
    await bus.publish("a", 1)
    await bus.drain(10)
    assert handled == [1]


# ---- what other programs put into the store


@pytest.mark.parametrize("payload", ['{"a": "\\ud800"}', "[" * 12_000 + "]" * 12_000], ids=["surrogate", "depth"])
async def test_an_event_that_cannot_be_decoded_ends_dead_with_its_reason(
    shared_bus: EventBus, shared_dsn: str, payload: str
) -> None:
    handled: list[Any] = []

    @shared_bus.subscribe("a", name="h", retry=FAST)
    async def handle(event: Event) -> None:
        handled.append(event.payload)

    dead = letters_of(shared_bus)
    await shared_bus.publish("a", "before")
    insert = "insert into event_store (tenant_id, event_name, payload) values ('t', 'a', ?)"
    refused = False
    try:
        sql(shared_dsn, insert, payload)
    except (sqlite3.Error, psycopg.Error):  # a store that does not take it is as good
        refused = True
    await shared_bus.publish("a", "after")
    await shared_bus.drain(15)
    assert handled == ["before", "after"]
    assert [letter["attempts"] for letter in dead] == ([] if refused else [1])


async def test_a_cursor_is_not_written_for_events_that_its_subscription_does_not_want(
    shared_dsn: str, shared_bus: EventBus
) -> None:
    async def handle(event: Event) -> None:
        pass

    shared_bus.subscribe("wanted", handle, name="busy", partitions=1)
    shared_bus.subscribe("never", handle, name="idle", partitions=1)

    def written(name: str) -> object:
        of = "(select id from subscriptions where name = ?)"
        return sql(shared_dsn, f"select updated_at from cursors where subscription = {of}", name)

    async with shared_bus:
        await shared_bus.publish("wanted", 1)
        await shared_bus.drain(10)
        busy, idle = written("busy"), written("idle")
        for _ in range(2):  # cursors that are due are written together, so the second time tells of the first, too
            await shared_bus.publish("wanted", 2)
            await until(lambda before=busy: written("busy") != before)
            busy = written("busy")
        assert written("idle") == idle
