"""Take-over and what may stand in its way: order per key, subscriptions beside each other, answers that were lost."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from holdfast import Delivery, Event, EventBus, Reject, RetryPolicy
from holdfast.errors import StoreUnavailable
from holdfast.stores import make_store
from holdfast.stores.filters import ReplayFilter
from holdfast.stores.inspector import make_inspector
from holdfast.stores.sqlite.rows import slot_of_texts

from .waiting import sql, until, vanish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from holdfast.worker import Worker
    from holdfast.worker.runner import Runner

Seen = list[tuple[int, int]]
SHORT = {"lease_ttl": 1, "stop_timeout": 1}


def states(dsn: str) -> list[tuple[str, int]]:
    return sql(dsn, "select state, attempts from deliveries order by id")  # type: ignore[return-value]


def worker_of(bus: EventBus) -> Worker:
    assert bus._live is not None
    assert bus._live.worker is not None
    return bus._live.worker


def runner_of(bus: EventBus, name: str) -> Runner:
    return next(one for one in worker_of(bus)._runners.values() if one.record.name == name)


async def started(bus: EventBus) -> EventBus:
    await (await bus.open()).start()
    return bus


# ---- order per key


@pytest.mark.parametrize("on_dead", ["continue", "hold"])
async def test_what_comes_behind_a_failed_event_is_held_behind_it_by_whoever_takes_over(
    shared_dsn: str, make_bus: Callable[..., EventBus], on_dead: str
) -> None:
    seen: Seen = []

    def made() -> EventBus:
        bus = make_bus(shared_dsn, **SHORT)

        @bus.subscribe("a", name="s", partitions=1, on_dead=on_dead, retry=RetryPolicy(base=3600))
        async def handle(event: Event, delivery: Delivery) -> None:
            seen.append((event.payload, delivery.attempt))
            if event.payload == 1:
                raise Reject("no") if on_dead == "hold" else ValueError("not yet")

        return bus

    first = await started(made())
    await first.publish("a", 1, key="k")
    await until(lambda: states(shared_dsn) == [("dead" if on_dead == "hold" else "retrying", 1)])
    await vanish(first)
    second = made()
    await second.publish_many([{"name": "a", "payload": n, "key": "k" if n == 2 else "other"} for n in (2, 3)])
    await started(second)
    await until(lambda: (3, 1) in seen)
    await until(lambda: states(shared_dsn)[1:] == [("pending", 0)])  # behind its key, as a row
    assert seen == [(1, 1), (3, 1)]


async def test_a_suspect_that_fails_keeps_the_next_suspect_of_its_key_waiting(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    seen: Seen = []
    crashed = False

    def made() -> EventBus:
        bus = make_bus(shared_dsn, **SHORT)

        @bus.subscribe("a", name="s", partitions=1, retry=RetryPolicy(base=1 if crashed is False else 60))
        async def handle(event: Event, delivery: Delivery) -> None:
            seen.append((event.payload, delivery.attempt))
            if not crashed and delivery.attempt > 1:
                await asyncio.sleep(3600)
            if event.payload == 1:
                raise ValueError("not yet")

        return bus

    first = await started(made())
    for n in (1, 2):
        await first.publish("a", n, key="k")
    await until(lambda: (1, 2) in seen)
    await until(lambda: [state for state, _ in states(shared_dsn)] == ["running", "running"])
    await vanish(first)
    crashed = True
    await started(made())
    await until(lambda: [state for state, _ in states(shared_dsn)] == ["retrying", "pending"], seconds=20)
    assert seen == [(1, 1), (1, 2), (1, 2)], "and the second one has not run"


async def test_a_recount_in_the_midst_of_a_recovery_misses_nothing_that_a_key_waits_behind(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    vanished, chunk, seen = False, 64, list[int]()
    second_began = asyncio.Event()

    def made() -> EventBus:
        bus = make_bus(shared_dsn, **SHORT)

        @bus.subscribe("a", name="s", partitions=1, retry=RetryPolicy(base=0.5))
        async def handle(event: Event, delivery: Delivery) -> None:
            if not vanished:
                await asyncio.sleep(3600)
            if event.payload == chunk + 1:
                second_began.set()
                if delivery.attempt == 1:
                    raise ValueError("not yet")
            seen.append(event.payload)

        return bus

    first = await started(made())
    await first.publish_many([{"name": "a", "payload": n, "key": "k"} for n in range(1, 2 * chunk + 3)])
    await until(lambda: runner_of(first, "s").held_now == 2 * chunk + 2)
    await vanish(first)
    vanished = True

    second, third = made(), make_bus(shared_dsn)
    third.subscribe("b", lambda _: None, name="t")
    store = (await second.open()).store
    take_in, blocked_keys, chunks, counted = store.take_in, store.blocked_keys, 0, asyncio.Event()

    async def take_in_amid_a_recount(*given: Any) -> Any:
        nonlocal chunks
        chunks += 1
        if chunks == 2:  # somebody registers, and what keys wait behind is counted
            await (await third.open()).prepare()
            with suppress(TimeoutError):
                await asyncio.wait_for(counted.wait(), 0.5)
        return await take_in(*given)

    async def blocked_keys_told_late(*given: Any) -> Any:
        found = await blocked_keys(*given)
        if chunks == 2:
            counted.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(second_began.wait(), 0.5)
        return found

    store.take_in, store.blocked_keys = take_in_amid_a_recount, blocked_keys_told_late  # type: ignore[method-assign]
    await started(second)
    await until(lambda: len(seen) == 2 * chunk + 2, seconds=20)
    assert seen == sorted(seen)


async def test_a_replay_that_is_claimed_before_it_is_noticed_takes_nothing_off_what_a_key_waits_behind(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    seen, gate, begun = list[int](), asyncio.Event(), asyncio.Event()
    bus = make_bus(shared_dsn)

    @bus.subscribe("a", name="s", partitions=1, retry=RetryPolicy(base=3600))
    async def handle(event: Event) -> None:
        if event.payload == 1:
            begun.set()
            await gate.wait()
            raise ValueError("not yet")
        seen.append(event.payload)

    async def notice_nothing() -> None:
        """The reading loop is late: whoever claims must not rely on it."""

    store = make_store(shared_dsn, timeout=10)
    inspector, operator = make_inspector(store)
    try:
        await started(bus)
        first = await bus.publish("a", 0, key="k")
        await until(lambda: seen == [0])
        worker_of(bus)._feeder._changed = notice_nothing
        await bus.publish("a", 1, key="k")
        await begun.wait()
        await operator.replay("s", ReplayFilter(event_id=first.event_id), actor="me")
        worker_of(bus)._retries.due_in(0.0)
        await until(lambda: states(shared_dsn) == [("running", 0)])
        gate.set()
        await until(lambda: states(shared_dsn) == [("retrying", 1)], seconds=30)  # claimed again in a round of seconds
        assert seen == [0, 0]
        await bus.publish("a", 2, key="k")
        await until(lambda: states(shared_dsn) == [("retrying", 1), ("pending", 0)])
        assert seen == [0, 0]
    finally:
        await inspector.close()
        await store.close()


@pytest.mark.parametrize("batch", [None, 4])
async def test_a_retry_that_has_a_receipt_by_then_does_not_run(
    shared_dsn: str, make_bus: Callable[..., EventBus], batch: int | None
) -> None:
    """Whoever has lost the lease writes receipts of what it had in hand, whenever it can."""
    seen = list[int]()
    bus = make_bus(shared_dsn)

    def handle(event: Event) -> None:
        seen.append(event.payload)
        if seen == [1]:
            sql(shared_dsn, "insert into receipts (%s) select %s from event_log as e, subscriptions as s" % (
                ("day, event_id, subscription", "e.day, e.id, s.id") if shared_dsn.startswith("postgresql")
                else ("event_id, subscription, processed_at", "e.id, s.id, e.occurred_at")
            ))  # fmt: skip
            raise ValueError("and yet it has one")

    async def handle_alone(event: Event) -> None:
        handle(event)

    async def handle_batch(events: list[Event]) -> None:
        for event in events:
            handle(event)

    handler = handle_alone if batch is None else handle_batch
    bus.subscribe("a", handler, name="s", partitions=1, retry=RetryPolicy(base=0.1), batch=batch)
    await started(bus)
    await bus.publish("a", 1, key="k")
    await until(lambda: seen == [1] and states(shared_dsn) == [])
    await bus.publish("a", 2, key="k")
    await until(lambda: seen == [1, 2])


async def test_a_lease_that_its_own_worker_takes_anew_loses_nothing_of_what_it_has_in_hand(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    seen, begun, gate = list[int](), asyncio.Event(), asyncio.Event()
    bus = make_bus(shared_dsn)

    @bus.subscribe("a", name="s", partitions=2, transactional=True)
    async def handle(event: Event) -> None:
        seen.append(event.payload)

    await started(bus)
    store = (await bus.open()).store
    await bus.publish("a", 0, key="k")
    await until(lambda: seen == [0])
    if shared_dsn.startswith("sqlite"):
        slot = slot_of_texts(b"default", b"k", b"")
    else:
        ((slot,),) = sql(shared_dsn, "select slot from event_log")
    # The other partition is somebody else's, so that this worker has less than its share and looks for more.
    sql(
        shared_dsn, "update leases set owner = ?, lease_until = '2099-01-01T00:00:00.000000Z', ttl = 1e10 where partition <> ?",
        str(uuid4()), slot % 2,
    )  # fmt: skip
    await until(lambda: [one.partition for one in worker_of(bus).epochs] == [slot % 2])
    renew, transaction, has_slept = store.renew, store.transaction, False

    async def sleep_past_the_lease(*given: Any, **more: Any) -> Any:
        nonlocal has_slept
        kept = await renew(*given, **more)
        if begun.is_set() and not has_slept:
            has_slept = True  # as whoever was stopped here finds it: prolonged, and over
            over = "update leases set lease_until = '2001-01-01T00:00:00.000000Z' where partition = ?"
            sql(shared_dsn, over, slot % 2)
        return kept

    @asynccontextmanager
    async def begin_late(*given: Any, **more: Any) -> AsyncIterator[Any]:
        begun.set()
        await gate.wait()
        async with transaction(*given, **more) as opened:
            yield opened

    store.renew, store.transaction = sleep_past_the_lease, begin_late  # type: ignore[method-assign]
    (epoch,) = worker_of(bus).epochs.values()
    await bus.publish_many([{"name": "a", "payload": n, "key": "k"} for n in (1, 2, 3)])
    await begun.wait()
    worker_of(bus).keeper.hurry()
    await until(lambda: list(worker_of(bus).epochs.values()) == [epoch + 1])
    gate.set()
    await until(lambda: sql(shared_dsn, "select count(*) from receipts") == [(4,)])
    assert seen == [0, 1, 2, 3]


# ---- subscriptions beside each other


async def test_partitions_that_are_given_back_do_not_wait_for_each_others_handlers(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    gate, seen = asyncio.Event(), list[int]()

    def made() -> EventBus:
        bus = make_bus(shared_dsn, lease_ttl=30, stop_timeout=1)

        async def wait(event: Event) -> None:
            await gate.wait()

        async def note(event: Event) -> None:
            seen.append(event.payload)

        bus.subscribe("slow", wait, name="slow", partitions=2)
        bus.subscribe("fast", note, name="fast", partitions=8)
        return bus

    first, second = await started(made()), made()
    await first.publish_many([{"name": "slow", "payload": n, "key": f"k{n}"} for n in range(16)])
    await until(lambda: len(runner_of(first, "slow").in_hand) == 16)
    await started(second)
    owners = (
        "select count(distinct owner) from leases where owner is not null "
        "and subscription = (select id from subscriptions where name = 'fast')"
    )
    await until(lambda: sql(shared_dsn, owners) == [(2,)])
    await first.publish_many([{"name": "fast", "payload": n, "key": f"k{n}"} for n in range(50)])
    await until(lambda: len(seen) == 50)
    gate.set()


async def test_when_all_is_paused_a_resume_is_noticed(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus, seen = make_bus(shared_dsn), list[int]()
    bus.subscribe("a", lambda event: seen.append(event.payload), name="s")
    store = make_store(shared_dsn, timeout=10)
    inspector, operator = make_inspector(store)
    try:
        async with bus:
            await bus.publish("a", 1)
            await until(lambda: seen == [1])
            await operator.pause("s", actor="me")
            await until(lambda: runner_of(bus, "s").record.paused)
            await bus.publish("a", 2)
            await operator.resume("s", actor="me")
            await until(lambda: seen == [1, 2])
    finally:
        await inspector.close()
        await store.close()


# ---- answers that are lost


async def test_what_a_claim_took_whose_answer_was_lost_is_found_when_there_is_room(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, seen = make_bus(shared_dsn), list[tuple[int, int]]()

    @bus.subscribe("a", name="s", partitions=1, retry=RetryPolicy(base=1))
    async def handle(event: Event, delivery: Delivery) -> None:
        seen.append((event.payload, delivery.attempt))
        if delivery.attempt == 1:
            raise ValueError("once")

    await started(bus)
    assert bus._live is not None
    store, runner = bus._live.store, runner_of(bus, "s")
    claim, lost = store.claim, asyncio.Event()

    async def losing(leases: Any, *, limit: int) -> Any:
        answer = await claim(leases, limit=limit)
        if answer.due and not lost.is_set():
            lost.set()
            runner._after.bound = 0  # nor is there room to look for it
            raise StoreUnavailable("the answer was lost", maybe_done=True)
        return answer

    store.claim = losing  # type: ignore[method-assign]
    await bus.publish("a", 1, key="k")
    await asyncio.wait_for(lost.wait(), 15)
    await bus.publish("a", 2, key="k")
    runner._after.bound = 2000
    await bus.drain(20)
    assert sorted(seen) == [(1, 1), (1, 2), (2, 1), (2, 2)]


async def test_a_reader_whose_new_session_fails_too_gets_another(
    emptied_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, seen = make_bus(emptied_dsn), list[int]()
    bus.subscribe("a", lambda event: seen.append(event.payload), name="s")
    await started(bus)
    await bus.publish("a", 1)
    await until(lambda: seen == [1])
    assert bus._live is not None
    store = bus._live.store
    made, readers = store.reader, list[Any]()

    async def failing_once() -> Any:
        reader: Any = await made()
        readers.append(reader)
        if len(readers) == 1:
            reader._session._conninfo = "host=127.0.0.1 port=1"
        return reader

    store.reader = failing_once  # type: ignore[method-assign]
    with psycopg.connect(emptied_dsn, autocommit=True) as other:
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'holdfast reader' and datname = current_database()"
        )
    await until(lambda: len(readers) >= 2)
    await bus.publish("a", 2)
    await until(lambda: seen == [1, 2])


# ---- bounds


async def test_bytes_in_hand_are_bounded_as_their_number_is(
    shared_dsn: str, make_bus: Callable[..., EventBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.worker import aftermath, feeder

    monkeypatch.setattr(aftermath, "BYTES_BOUND", 500_000)
    monkeypatch.setattr(feeder, "PAGE_BYTES", 200_000)
    bus, gate, seen = make_bus(shared_dsn), asyncio.Event(), list[int]()

    @bus.subscribe("a", name="s", start="beginning", concurrency=1)
    async def handle(event: Event) -> None:
        await gate.wait()
        seen.append(event.payload["n"])

    await bus.publish_many([{"name": "a", "payload": {"n": n, "x": "x" * 50_000}} for n in range(100)])
    await started(bus)
    found = runner_of(bus, "s")
    await until(lambda: found.held_now > 8)
    most = 0
    for _ in range(50):  # rounds of the reader, which has nothing else to do
        most = max(most, found.held_now)
        await asyncio.sleep(0.005)
    assert most < 20, "500 kB and a page"
    gate.set()
    await until(lambda: sorted(seen) == list(range(100)))


async def test_a_new_pattern_does_not_keep_drain_waiting_for_what_came_before(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, seen = make_bus(shared_dsn), list[str]()

    def note(event: Event) -> None:
        seen.append(event.name)

    bus.subscribe("a", note, name="s")
    async with bus:
        await bus.publish_many([{"name": name, "payload": 0} for name in ("a", "b", "b")])
        await bus.drain(10)
        bus.subscribe("b", note, name="s")
        await bus.publish("b")
        await bus.drain(10)
    assert seen == ["a", "b"]


# ---- what the log says


def vanished(records: Sequence[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if "vanished" in record.getMessage()]


async def test_a_take_over_is_told_once_a_subscription_and_so_is_its_end(
    shared_dsn: str, make_bus: Callable[..., EventBus], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holdfast")

    def made() -> EventBus:
        bus = make_bus(shared_dsn, **SHORT)
        bus.subscribe("a", print, name="billing", partitions=8)
        return bus

    first = await started(made())
    await first.publish("a", 1)
    await until(lambda: sql(shared_dsn, "select count(*) from leases where owner is not null") == [(8,)])
    await vanish(first)
    await started(made())
    await until(lambda: "what its lost worker had in hand is finished" in caplog.text)
    (said,) = vanished(caplog.records)
    assert said.startswith("subscription billing: its worker vanished with ")


async def test_a_handlers_message_cannot_forge_a_line_of_the_log(
    make_bus: Callable[..., EventBus], caplog: pytest.LogCaptureFixture
) -> None:
    bus = make_bus("sqlite://")

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        raise Reject("no\nERROR forged \x1b[31m")

    async with bus:
        await bus.publish("a")
        await bus.drain(10)
    assert "no\\nERROR forged \\x1b[31m" in caplog.text
