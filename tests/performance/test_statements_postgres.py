"""How many statements PostgreSQL is sent, by its own log. Who makes the engine send more meets one of these first."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import EventBus
from holdfast.ids import new_id
from holdfast.stores import make_store
from holdfast.stores.values import Advance, Parked, State
from tests.bus.waiting import until
from tests.contract.harness import Scene, failed, receipt, settlement_of
from tests.performance.named import counted
from tests.performance.still_loop import run
from tests.performance.working import PAGE, at_work, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.performance.named import Sent
    from tests.performance.server_log import ServerLog

EVENTS = 10_000
LAST_CHORE = "old_days"
POLLS = {"read_new", "generation"}
EACH_SECOND = {"renew", "heartbeat", "live_workers", "lease_states", "next_scheduled"}
NOW_AND_THEN = {"claimable", "next_due", "claim", "add_samples", "forget_samples", "add_lags"}
POLL_INTERVAL = 0.04
CURSORS = ("begin", "fence", "settle_advances", "commit")
"""Cursors are written once a second, in the transaction of the receipts of that moment."""


def for_events(names: Sequence[str]) -> Counter[str]:
    """Those that would not have been sent without events, whatever the time: the rest is driven by the clock."""
    found = Counter(name for name in names if name not in POLLS | EACH_SECOND | NOW_AND_THEN)
    seconds = 1 + names.count("heartbeat")
    assert found["settle_advances"] <= seconds, counted(names)
    for name in CURSORS:
        found[name] -= min(found[name], names.count("settle_advances"))
    return +found


def up_to_the_last_receipt(names: Sequence[str]) -> list[str]:
    return list(names[: len(names) - list(reversed(names)).index("settle_receipts")])


# ---- draining


@pytest.mark.parametrize("partitions", [1, 16])
def test_a_drain_reads_once_and_writes_once_for_a_thousand_events(
    logged: tuple[str, ServerLog], partitions: int
) -> None:
    dsn, log = logged
    sent = for_events(run(statements_of_a_drain(dsn, log, partitions=partitions)))
    print(f"statements for {EVENTS} events: {sent.total()}: {dict(sent)}")
    pages = EVENTS // PAGE
    assert sent["read_window"] <= pages + 1, sent
    assert sent["settle_receipts"] <= pages, sent
    # Beside those it is asked once each up to where the window goes, where it begins and ends, and from which day on.
    assert sent.total() <= pages + 1 + pages + 3, sent


def test_subscriptions_share_what_is_read(logged: tuple[str, ServerLog]) -> None:
    """Ten that want a tenth each: the log is read no more often for it, and what all had of a page is written at once."""
    dsn, log = logged
    sent = for_events(run(statements_of_a_drain(dsn, log, 10)))
    print(f"statements for {EVENTS} events of ten subscriptions: {sent.total()}: {dict(sent)}")
    pages = EVENTS // PAGE
    assert sent["read_window"] <= pages + 1, sent
    assert sent["settle_receipts"] <= pages, sent
    assert sent.total() <= pages + 1 + pages + 3, sent


async def statements_of_a_drain(dsn: str, log: ServerLog, subscriptions: int = 1, **options: Any) -> list[str]:
    async with at_work(dsn, subscriptions, names=log.names, last=LAST_CHORE, **options) as work:
        log.clear()
        fill(dsn, EVENTS, names=subscriptions)
        await work.until_handled(subscriptions + EVENTS)
        return up_to_the_last_receipt([sent.name for sent in log.read() if sent.session.startswith("holdfast")])


# ---- an idle second


@pytest.mark.parametrize("subscriptions", [1, 50])
def test_an_idle_worker_asks_the_same_few_things_however_many_subscriptions_it_has(
    logged: tuple[str, ServerLog], subscriptions: int
) -> None:
    second = run(an_idle_second(*logged, subscriptions))
    names = [sent.name for sent in second]
    print(f"statements in an idle second, {subscriptions} subscriptions: {len(names)}: {counted(names)}")
    seconds = second[-1].time - second[0].time
    assert sum(name in POLLS for name in names) <= 1 + seconds / POLL_INTERVAL, counted(names)
    # Each second of a clock of its own: two of them may lie between two heartbeats.
    assert names.count("next_scheduled") <= 2, counted(names)
    beside = [name for name in names if name not in POLLS | {"next_scheduled"}]
    assert len(beside) == len(set(beside)), counted(names)
    assert set(beside) <= EACH_SECOND | NOW_AND_THEN, counted(names)


async def an_idle_second(dsn: str, log: ServerLog, subscriptions: int) -> list[Sent]:
    """What was sent from one heartbeat to the next, which comes a second later by the worker's own clock."""
    async with at_work(dsn, subscriptions, names=log.names, last=LAST_CHORE) as work:
        await until(lambda: "commit" in after("settle_advances", log.names()), seconds=60)
        log.clear()  # until the next heartbeat it polls ever less often, as it has just been at work
        await until(lambda: log.names().count("heartbeat") == 2 and work.rests, seconds=60)
        sent = log.read()
    first, second = (place for place, one in enumerate(sent) if one.name == "heartbeat")
    return sent[first:second]


def test_leases_of_thirty_seconds_are_not_written_anew_each_second(logged: tuple[str, ServerLog]) -> None:
    assert run(renewals(*logged, heartbeats=5)) <= 1


async def renewals(dsn: str, log: ServerLog, heartbeats: int) -> int:
    async with at_work(dsn, names=log.names, last=LAST_CHORE):
        log.clear()
        await until(lambda: log.names().count("heartbeat") == heartbeats, seconds=60)
        return log.names().count("renew")


def after(name: str, names: Sequence[str]) -> list[str]:
    return list(names[names.index(name) :]) if name in names else []


# ---- publishing


@pytest.fixture
async def bus(logged: tuple[str, ServerLog]) -> AsyncIterator[EventBus]:
    """A bus that has its connections."""
    dsn, log = logged
    bus = EventBus(dsn, spool="off")
    await bus.publish("load.first")
    await until(lambda: "notify" in log.names())
    log.clear()
    yield bus
    await bus.close()


async def sent_once_told(log: ServerLog) -> dict[str, int]:
    """What publishing sent, up to the hint for other processes, which comes last."""
    await until(lambda: "notify" in log.names())
    return counted(log.names())


async def test_a_publish_is_one_statement_and_a_hint(bus: EventBus, logged: tuple[str, ServerLog]) -> None:
    await bus.publish("order.placed", {"order_id": 1}, key="order-1")
    assert await sent_once_told(logged[1]) == {"append_one_new": 1, "notify": 1}


async def test_two_hundred_callers_share_two_statements(bus: EventBus, logged: tuple[str, ServerLog]) -> None:
    """Half of them each: while one half is stored, the others make their next events."""
    await asyncio.gather(*(bus.publish("order.placed", {"order_id": n}, key=f"order-{n}") for n in range(200)))
    sent = await sent_once_told(logged[1])
    assert sent["append_new"] == 2
    assert sent["notify"] <= 2


async def test_calls_one_after_the_other_share_a_hint_in_five_milliseconds(
    bus: EventBus, logged: tuple[str, ServerLog]
) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    for n in range(200):
        await bus.publish("order.placed", {"order_id": n}, key="order-1")
    sent = await sent_once_told(logged[1])
    assert sent["append_one_new"] == 200
    assert sent["notify"] <= 1 + (loop.time() - started) / 0.005


@pytest.mark.parametrize(
    ("number", "sent"),
    [(2, {"append_new": 1}), (1_000, {"append_new": 1}), (10_000, {"begin": 1, "append_new": 10, "commit": 1})],
)
async def test_publish_many_is_one_transaction_with_a_statement_for_a_thousand_events(
    bus: EventBus, logged: tuple[str, ServerLog], number: int, sent: dict[str, int]
) -> None:
    await bus.publish_many([{"name": "order.placed", "payload": {"order_id": n}} for n in range(number)])
    assert await sent_once_told(logged[1]) == {**sent, "notify": 1}


async def test_ids_that_were_given_are_looked_for(bus: EventBus, logged: tuple[str, ServerLog]) -> None:
    items = [{"name": "order.placed", "payload": {"order_id": n}, "event_id": new_id()} for n in range(2)]
    await bus.publish_many(items)
    assert await sent_once_told(logged[1]) == {"begin": 1, "append": 1, "commit": 1, "notify": 1}


async def test_publishing_in_the_callers_transaction_adds_exactly_one_statement(
    bus: EventBus, logged: tuple[str, ServerLog]
) -> None:
    dsn, log = logged
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("select 'the order'")
        await bus.publish("order.placed", {"order_id": 1}, key="order-1", tx=connection)
        await connection.execute("select 'the stock'")
    assert log.names() == ["begin", "select 'the order'", "append_within", "select 'the stock'", "commit"]


# ---- settling


@pytest.fixture
async def scene(logged: tuple[str, ServerLog]) -> AsyncIterator[Scene]:
    dsn, _ = logged
    scene = Scene("postgres", dsn, make_store(dsn, timeout=10))
    await scene.store.open()
    yield scene
    await scene.close()


@pytest.mark.parametrize("partitions", [1, 16])
async def test_a_flush_is_as_many_statements_for_sixteen_partitions_as_for_one(
    scene: Scene, logged: tuple[str, ServerLog], partitions: int
) -> None:
    leases = await scene.leases(await scene.subscribe(partitions=partitions))
    await scene.publish(*(f"key-{n}" for n in range(200)))
    rows, cursor = await scene.read_all(leases[0].cursor)
    of_slot = {lease.slice.partition: lease for lease in leases}
    receipts = [receipt(of_slot[row.slot % partitions], row) for row in rows]
    parked = [Parked(lease.slice, rows[lease.slice.partition], State.RETRYING, due_in=900.0) for lease in leases]
    attempts = [failed(lease.slice, rows[lease.slice.partition]) for lease in leases]
    epochs = {lease.slice: lease.epoch for lease in leases}
    advances = [Advance(lease.slice, cursor) for lease in leases]

    async def sent(settlement: Any) -> list[str]:
        logged[1].clear()
        await scene.store.settle(settlement)
        return logged[1].names()

    await sent(settlement_of(receipts=receipts[:1]))  # the connection is made by the first
    assert await sent(settlement_of(receipts=receipts)) == ["settle_receipts"]
    assert await sent(settlement_of(epochs, receipts=receipts, advances=advances)) == [
        "begin", "fence", "settle_receipts", "settle_advances", "commit",
    ]  # fmt: skip
    assert await sent(settlement_of(epochs, parked=parked, attempts=attempts)) == [
        "begin", "fence", "settle_parked", "settle_attempts", "commit",
    ]  # fmt: skip
