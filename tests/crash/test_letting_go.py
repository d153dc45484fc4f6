"""Whoever lets go of events is killed between the archive and the store: nothing is lost, and a page is archived twice."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from holdfast import Event, EventBus, RetryPolicy
from holdfast.archive import Archive, read
from holdfast.counts import WorkerCounts
from holdfast.ids import new_id
from holdfast.ports import SYSTEM
from holdfast.stores import make_store
from holdfast.stores.values import Declaration
from holdfast.worker.letting_go import PAGE_EVENTS, LettingGo
from tests.contract.aging import A_DAY, aging
from tests.contract.harness import event, until

if TYPE_CHECKING:
    from holdfast.stores.base import Store
    from tests.crash.harness import Bench, Child

EVENTS = 5 * PAGE_EVENTS // 2
ROUNDS = 8


@pytest.fixture
async def published(bench: Bench) -> list[UUID]:
    """Ids of events that a subscription with an archive has not handled, three days old."""
    store = make_store(bench.dsn, timeout=10)
    await store.open()
    await store.register([Declaration("laggard", ("order.*",), behind_retention="archive")])
    events = [event(f"k{number}") for number in range(EVENTS)]
    for start in range(0, EVENTS, 500):
        await store.append(events[start : start + 500], atomic=True)
    await store.close()
    for statement in aging(is_sqlite=bench.is_sqlite, schema="holdfast."):
        bench.run(statement)
    return [one.id for one in events]


def live(bench: Bench, pages: int | None) -> Child:
    """One life: until that page is archived, or, None, to the end."""
    child = bench._start("let_go", {"archive": str(bench.folder / "archive"), "pages": pages})
    child.process.wait(60)
    return child


def archived(bench: Bench) -> Counter[str]:
    """How often each id stands in the archive."""
    lines = [line for file in bench.folder.glob("archive/laggard/*.jsonl") for line in file.read_text().splitlines()]
    return Counter(json.loads(line)["id"] for line in lines)


async def test_nothing_is_lost(bench: Bench, published: list[UUID]) -> None:
    ids = {str(one) for one in published}
    # Killed with the first page, then with the third: of what was told by then nothing is archived again.
    for pages, known in ((1, PAGE_EVENTS), (3, EVENTS)):
        assert live(bench, pages).process.returncode == -signal.SIGKILL
        assert len(archived(bench)) == known
        assert bench.run("select count(*) from {h}event_log") == [(EVENTS,)]
    assert live(bench, None).process.returncode == 0
    found = archived(bench)
    assert set(found) == ids
    assert found.total() == EVENTS + PAGE_EVENTS + EVENTS - 2 * PAGE_EVENTS
    assert max(found.values()) == 2
    assert bench.run("select count from {h}audit") == [(EVENTS,)]
    assert bench.run("select event_name from {h}event_log") == [("holdfast.subscription.let_go",)]
    (file,) = bench.folder.glob("archive/laggard/*.jsonl")
    assert [one.id for one in read(file)] == published


async def test_a_worker_at_work_and_another_that_lets_go_lose_nothing_between_them(bench: Bench) -> None:
    """Events are old as soon as they are stored; handlers are slow, and fail. Each is handled, archived, or dead."""
    archive, handled, ids = bench.folder / "archive", set[UUID](), list[UUID]()
    store = make_store(bench.dsn, timeout=10)
    await store.open()
    threads = SYSTEM.threads("archive", 1)
    letting_go = LettingGo(store, Archive(archive), WorkerCounts(), threads, new_id)
    bus = EventBus(bench.dsn, spool="off", lease_ttl=1, archive=archive)

    @bus.subscribe(
        "order.*", name="laggard", partitions=3, concurrency=4, start="beginning", behind_retention="archive",
        retry=RetryPolicy(max_attempts=3, base=0.1),
    )  # fmt: skip
    async def slow(event: Event) -> None:
        await asyncio.sleep(0.002)
        if event.id.int % 7 == 0:
            raise RuntimeError("no")
        handled.add(event.id)

    async with bus:
        for _ in range(ROUNDS):
            before = len(handled)
            ids += store_old(bench, 200)
            await until(lambda before=before: some_more(handled, before))
            await letting_go.look(A_DAY)
            await store.maintain(retention=A_DAY)
        await until(lambda: is_gone(store, letting_go, bench), 60)
        await bus.drain(30)
    await store.close()
    dead = {UUID(str(one)) for (one,) in bench.run("select event_id from {h}deliveries where state = 'dead'")}
    assert set(ids) == handled | dead | {UUID(one) for one in archived(bench)}
    assert archived(bench), "it was never late"
    assert handled, "it was always late"
    # Every row has its event, or the event's content.
    assert bench.run(
        "select count(*) from {h}deliveries where payload is null and event_id not in (select id from {h}event_log)"
    ) == [(0,)]


async def some_more(handled: set[UUID], before: int) -> bool:
    return len(handled) > before


async def is_gone(store: Store, letting_go: LettingGo, bench: Bench) -> bool:
    await letting_go.look(A_DAY)
    await store.maintain(retention=A_DAY)
    return bench.run("select count(*) from {h}event_log where event_name = 'order.placed'") == [(0,)]


def store_old(bench: Bench, count: int) -> list[UUID]:
    """Publish events of three days ago; returns their ids."""
    ids = [new_id() for _ in range(count)]
    if bench.is_sqlite:
        for start in range(0, count, 100):
            texts = ", ".join(
                f"('{one}', 't', 'order.placed', 'k{one.int % 40}', '1')" for one in ids[start : start + 100]
            )
            bench.run(f"insert into event_store (id, tenant_id, event_name, event_key, payload) values {texts}")
        for statement in aging(is_sqlite=True):
            bench.run(statement)
    else:
        bench.run(aging(is_sqlite=False, schema="holdfast.")[0])
        texts = ", ".join(
            f"('{one}', (clock_timestamp() at time zone 'UTC')::date - 3, 't', 'order.placed', 'k{one.int % 40}', '1')"
            for one in ids
        )
        bench.run(f"insert into holdfast.event_log (id, day, tenant_id, event_name, event_key, payload) values {texts}")
    return ids
