"""How many statements SQLite runs, by its own trace."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from holdfast import EventBus
from tests.bus.waiting import until
from tests.performance.named import counted
from tests.performance.still_loop import run
from tests.performance.traced import Trace
from tests.performance.working import PAGE, at_work, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.performance.named import Sent

EVENTS = 10_000
LAST_CHORE = "redate"
POLL = ("begin", "horizon", "rollback")
POLL_INTERVAL = 0.04
BY_THE_CLOCK = {
    "renew",
    "heartbeat",
    "live_workers",
    "lease_states",
    "claimable",
    "claim",
    "next_due",
    "fence",
    "next_scheduled",
}
LAGS = {"lags_wanted", "subscription_backlog", "add_lags"}
BY_THE_CLOCK |= {"settle_advances", "add_samples", "forget_samples"} | LAGS
TRANSACTIONS = ("renew", "heartbeat", "claimable", "fence", "forget_samples")
"""What the clock begins a transaction for; the fence, for cursors that are written once a second."""


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    return Trace(monkeypatch)


def for_events(names: Sequence[str]) -> Counter[str]:
    """Those that would not have been run without events, whatever the time: the rest is driven by the clock."""
    found = Counter(name for name in names if name not in BY_THE_CLOCK | set(POLL))
    for name in ("begin immediate", "commit"):
        found[name] -= min(found[name], sum(names.count(one) for one in TRANSACTIONS))
    return +found


@pytest.mark.parametrize("partitions", [1, 16])
def test_a_drain_reads_once_and_commits_once_for_a_thousand_events(
    sqlite_dsn: str, trace: Trace, partitions: int
) -> None:
    sent = for_events(run(statements_of_a_drain(sqlite_dsn, trace, partitions)))
    print(f"statements for {EVENTS} events: {sent.total()}: {dict(sent)}")
    pages = EVENTS // PAGE
    assert sent["read_window"] <= pages + 1, sent
    assert sent["settle_receipts"] <= pages, sent
    assert sent.total() <= pages + 1 + 3 * pages, sent


async def statements_of_a_drain(dsn: str, trace: Trace, partitions: int) -> list[str]:
    async with at_work(dsn, names=trace.names, last=LAST_CHORE, partitions=partitions) as work:
        trace.clear()
        fill(dsn, EVENTS)
        await work.until_handled(1 + EVENTS)
        return trace.names()


@pytest.mark.parametrize("subscriptions", [1, 50])
def test_an_idle_worker_asks_the_same_few_things_however_many_subscriptions_it_has(
    sqlite_dsn: str, trace: Trace, subscriptions: int
) -> None:
    second = run(an_idle_second(sqlite_dsn, trace, subscriptions))
    names = [sent.name for sent in second]
    print(f"statements in an idle second, {subscriptions} subscriptions: {len(names)}: {counted(names)}")
    # Each commit, its own too, wakes the listener: from 2 ms to the usual pause it is five polls.
    polls = 1 + (second[-1].time - second[0].time) / POLL_INTERVAL + 5 * names.count("commit")
    beside = Counter(name for name in names if name not in POLL)
    lags = 1 if beside["add_lags"] else 0
    transactions = 2 + beside["claimable"] + beside["forget_samples"] + lags
    assert all(names.count(name) <= polls for name in POLL), counted(names)
    assert beside.pop("begin immediate") <= transactions, counted(names)
    assert beside.pop("commit") <= transactions, counted(names)
    # Where the second meets a full minute.
    assert beside.pop("add_samples", 0) <= 1 + subscriptions, counted(names)
    assert beside.pop("subscription_backlog", 0) <= subscriptions, counted(names)
    assert beside.pop("add_lags", 0) <= subscriptions, counted(names)
    # Each second of a clock of its own: two of them may lie between two heartbeats.
    assert beside.pop("next_scheduled", 0) <= 2, counted(names)
    assert set(beside) <= BY_THE_CLOCK, counted(names)
    assert max(beside.values()) == 1, counted(names)


async def an_idle_second(dsn: str, trace: Trace, subscriptions: int) -> list[Sent]:
    """What was run from one heartbeat to the next, which comes a second later by the worker's own clock."""
    async with at_work(dsn, subscriptions, names=trace.names, last=LAST_CHORE) as work:
        await until(lambda: "commit" in after("settle_advances", trace.names()), seconds=60)
        trace.clear()
        await until(lambda: trace.names().count("heartbeat") == 2 and work.rests, seconds=60)
        sent = trace.read()
    first, second = (place for place, one in enumerate(sent) if one.name == "heartbeat")
    return sent[first:second]


def after(name: str, names: Sequence[str]) -> list[str]:
    return list(names[names.index(name) :]) if name in names else []


@pytest.fixture
async def bus(sqlite_dsn: str, trace: Trace) -> AsyncIterator[EventBus]:
    """A bus that has its connections."""
    bus = EventBus(sqlite_dsn, spool="off")
    await bus.publish("load.first")
    trace.clear()
    yield bus
    await bus.close()


async def test_a_publish_is_one_transaction_with_one_statement(bus: EventBus, trace: Trace) -> None:
    await bus.publish("order.placed", {"order_id": 1}, key="order-1")
    assert trace.names() == ["begin immediate", "append_one", "commit"]


async def test_two_hundred_callers_share_a_transaction(bus: EventBus, trace: Trace) -> None:
    await asyncio.gather(*(bus.publish("order.placed", {"order_id": n}, key=f"order-{n}") for n in range(200)))
    assert counted(trace.names()) == {"append_one": 200, "begin immediate": 1, "commit": 1}


async def test_publish_many_is_one_transaction(bus: EventBus, trace: Trace) -> None:
    await bus.publish_many([{"name": "order.placed", "payload": {"order_id": n}} for n in range(1_000)])
    assert counted(trace.names()) == {"append_one": 1_000, "begin immediate": 1, "commit": 1}


async def test_publishing_in_the_callers_transaction_adds_exactly_one_statement(
    bus: EventBus, sqlite_dsn: str, trace: Trace
) -> None:
    with closing(sqlite3.connect(sqlite_dsn.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("begin immediate")
        await bus.publish("order.placed", {"order_id": 1}, key="order-1", tx=connection)
        connection.execute("commit")
    assert trace.names() == ["begin immediate", "append_within", "commit"]
