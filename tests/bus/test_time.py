"""Events that are published for later, and schedules: from the call to the handler."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from holdfast import Event, EventBus, SyncEventBus
from holdfast.encryption import MasterKeys
from holdfast.errors import DuplicateSubscription, IdConflict, InvalidEvent, InvalidSubscription
from holdfast.event import NewEvent
from holdfast.spool import Spool
from holdfast.spool_format import decode, encode

from .waiting import path_of, run, sql, stored, until, vanish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def scheduled(dsn: str) -> int:
    return int(sql(dsn, "select count(*) from scheduled")[0][0])


def time_text(moment: datetime) -> str:
    """As both databases read it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def listen(bus: EventBus, pattern: str = "**", **options: Any) -> list[Event]:
    """What a subscription of everything has been given."""
    seen: list[Event] = []

    @bus.subscribe(pattern, **{"name": "listener", **options})
    async def remember(event: Event) -> None:
        seen.append(event)

    return seen


class TestLater:
    async def test_it_is_handled_when_its_time_has_come_and_not_before(self, bus: EventBus) -> None:
        seen = listen(bus)
        async with bus:
            published = await bus.publish("order.reminder", {"n": 1}, key="k", delay=0.5)
            assert (published.where, published.deduplicated) == ("store", False)
            await bus.publish("order.placed")
            await until(lambda: len(seen) == 2)
        assert [event.name for event in seen] == ["order.placed", "order.reminder"]
        late = seen[1]
        assert (late.id, late.payload, late.key) == (published.event_id, {"n": 1}, "k")
        assert late.occurred_at - seen[0].occurred_at >= timedelta(seconds=0.3)

    async def test_who_schedules_it_need_not_be_who_works(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        worker, publisher = make_bus(shared_dsn), make_bus(shared_dsn)
        seen = listen(worker)
        async with worker:
            await publisher.publish("order.reminder", deliver_at=now() + SECOND / 2)
            await until(lambda: seen)

    async def test_it_survives_its_publisher_and_all_workers(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        bus = make_bus(shared_dsn, lease_ttl=1)
        listen(bus)
        await bus.__aenter__()
        await bus.publish("order.reminder", deliver_at=now() + SECOND)
        await vanish(bus)
        assert scheduled(shared_dsn) == 1
        other = make_bus(shared_dsn, lease_ttl=1)
        seen = listen(other)
        async with other:
            await until(lambda: seen)

    async def test_a_time_that_is_over_means_now(self, shared_bus: EventBus, shared_dsn: str) -> None:
        await shared_bus.publish("a", deliver_at=now() - HOUR)
        await shared_bus.publish("b", delay=0)
        assert (stored(shared_dsn), scheduled(shared_dsn)) == (["a", "b"], 0)

    async def test_drain_counts_what_is_due_and_not_what_is_not(self, shared_bus: EventBus, shared_dsn: str) -> None:
        seen = listen(shared_bus)
        soon = await shared_bus.publish("soon", deliver_at=now() + HOUR)
        await shared_bus.publish("later", deliver_at=now() + DAY)
        assert await shared_bus.reschedule(soon.event_id, delay=0)
        await shared_bus.drain(20)
        assert [event.name for event in seen] == ["soon"]
        assert scheduled(shared_dsn) == 1

    async def test_cancelled_it_never_comes_and_moved_it_comes_at_its_new_time(self, bus: EventBus) -> None:
        seen = listen(bus)
        async with bus:
            first = await bus.publish("first", delay=3600)
            second = await bus.publish("second", delay=3600)
            assert await bus.cancel(str(first.event_id))
            assert not await bus.cancel(first.event_id)
            assert await bus.reschedule(second.event_id, delay=0.1)
            await until(lambda: seen)
            assert not await bus.cancel(second.event_id)
            assert not await bus.reschedule(second.event_id, delay=1)
        assert [event.name for event in seen] == ["second"]

    async def test_the_same_again_is_the_same_event(self, shared_bus: EventBus, shared_dsn: str) -> None:
        event_id = uuid4()
        await shared_bus.publish("a", 1, event_id=event_id, delay=60)
        again = await shared_bus.publish("a", 1, event_id=event_id, delay=60)
        assert again.deduplicated
        with pytest.raises(IdConflict):
            await shared_bus.publish("a", 2, event_id=event_id, delay=60)
        assert scheduled(shared_dsn) == 1

    async def test_many_go_in_one_transaction_those_for_now_and_those_for_later(
        self, shared_bus: EventBus, shared_dsn: str
    ) -> None:
        items = [
            {"name": "now", "payload": 1},
            {"name": "later", "payload": 2, "delay": 60},
            {"name": "later", "payload": 3, "deliver_at": (now() + HOUR).isoformat()},
        ]
        await shared_bus.publish_many(items)
        assert (stored(shared_dsn), scheduled(shared_dsn)) == (["now"], 2)
        with pytest.raises(InvalidEvent, match=r"item 1: delay"):
            await shared_bus.publish_many([items[0], items[1] | {"delay": -1}])
        assert (stored(shared_dsn), scheduled(shared_dsn)) == (["now"], 2)

    async def test_within_a_transaction_it_commits_and_is_undone_with_it(
        self, shared_bus: EventBus, shared_dsn: str
    ) -> None:
        await shared_bus.publish("before")
        with closing(connect(shared_dsn)) as connection:
            connection.execute("begin")
            await shared_bus.publish("later", delay=60, tx=connection)
            connection.rollback()
            assert scheduled(shared_dsn) == 0
            connection.execute("begin")
            await shared_bus.publish("later", delay=60, tx=connection)
            connection.commit()
        assert scheduled(shared_dsn) == 1

    async def test_a_transactional_handler_schedules_within_its_own_transaction(
        self, shared_bus: EventBus, shared_dsn: str
    ) -> None:
        attempts = []

        @shared_bus.subscribe("order.placed", name="remind", transactional=True)
        async def remind(event: Event) -> None:
            await shared_bus.publish("order.reminder", event.payload, delay=3600)
            attempts.append(event.id)
            if len(attempts) == 1:
                raise OSError("the connection is lost")

        async with shared_bus:
            await shared_bus.publish("order.placed", 1)
            await until(lambda: scheduled(shared_dsn), seconds=30)
        assert (len(attempts), scheduled(shared_dsn)) == (2, 1)

    async def test_while_the_store_is_away_it_waits_in_the_spool(
        self, tmp_path: Path, sqlite_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        bus = make_bus(sqlite_dsn, store_timeout=0.2, spool=tmp_path / "spool")
        await bus.publish("before")
        with closing(sqlite3.connect(path_of(sqlite_dsn), isolation_level=None)) as holder:
            holder.execute("begin immediate")
            assert (await bus.publish("later", delay=3600)).where == "spool"
        await until(lambda: scheduled(sqlite_dsn))
        assert stored(sqlite_dsn) == ["before"]

    async def test_encrypted_it_waits_encrypted_and_comes_readable(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        bus = make_bus(shared_dsn, encryption=MasterKeys({"one": b"k" * 32}))
        seen = listen(bus)
        async with bus:
            await bus.publish("later", {"secret": "plain words"}, key="ann", delay=0.3)
            ((kept,),) = sql(shared_dsn, "select cast(payload as text) from scheduled")
            assert "plain words" not in kept
            await until(lambda: seen)
        assert seen[0].payload == {"secret": "plain words"}

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"delay": -1}, "delay"), ({"delay": float("nan")}, "delay"), ({"delay": "5"}, "delay"),
            ({"delay": True}, "delay"), ({"delay": 10**20}, "delay"), ({"delay": timedelta(seconds=5)}, "delay"),
            ({"deliver_at": datetime(2030, 1, 1)}, "deliver_at"), ({"deliver_at": "tomorrow"}, "deliver_at"),  # noqa: DTZ001 - naive is what it is about
            ({"deliver_at": 5}, "deliver_at"), ({"delay": 1, "deliver_at": "2030-01-01T00:00:00Z"}, "delay"),
        ],
    )  # fmt: skip
    async def test_a_time_that_cannot_be_is_refused(self, given: dict[str, Any], field: str) -> None:
        async with EventBus("sqlite://") as bus:
            with pytest.raises(InvalidEvent) as refused:
                await bus.publish("a", **given)
            assert refused.value.field == field
            with pytest.raises(InvalidEvent):
                await bus.reschedule(uuid4(), **given)

    def test_from_threads_as_well(self, shared_dsn: str) -> None:
        seen = []
        with SyncEventBus(shared_dsn, auto_migrate=True, spool="off") as bus:
            bus.subscribe("**", seen.append, name="listener")
            first = bus.publish("first", delay=3600)
            second = bus.publish("second", delay=3600)
            assert bus.cancel(first.event_id)
            assert bus.reschedule(second.event_id, delay=0)
            bus.drain(20)
        assert [event.name for event in seen] == ["second"]


def connect(dsn: str) -> Any:
    if dsn.startswith("sqlite"):
        return sqlite3.connect(path_of(dsn), isolation_level=None)
    return psycopg.connect(dsn)


class TestSchedules:
    async def test_each_of_its_times_becomes_an_event(self, bus: EventBus) -> None:
        seen: list[Event] = []

        @bus.every(SECOND, name="tick", tenant_id="acme")
        async def tick(event: Event) -> None:
            seen.append(event)

        async with bus:
            await until(lambda: len(seen) >= 2)
        first, second = seen[:2]
        assert (first.name, first.key, first.tenant_id) == ("schedule.tick", "tick", "acme")
        assert first.payload["schedule"] == "tick"
        times = [datetime.fromisoformat(one.payload["due_at"]) for one in (first, second)]
        assert times[1] - times[0] == SECOND

    async def test_many_workers_make_one_event_of_each_time(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        seen: list[str] = []
        buses = [make_bus(shared_dsn) for _ in range(4)]
        for bus in buses:

            @bus.every(SECOND, name="tick")
            async def tick(event: Event) -> None:
                seen.append(event.payload["due_at"])

        for bus in buses:
            await bus.__aenter__()
        await until(lambda: len(seen) >= 3)
        assert len(seen) == len(set(seen))
        ((count, distinct),) = sql(shared_dsn, "select count(*), count(distinct cast(payload as text)) from event_log")
        assert count == distinct

    @pytest.mark.parametrize(("missed", "made"), [("skip", 0), ("once", 1), ("all", 3)])
    async def test_what_came_due_while_nobody_worked_goes_by_the_policy(
        self, shared_dsn: str, make_bus: Callable[..., EventBus], missed: Any, made: int
    ) -> None:
        bus = make_bus(shared_dsn)
        seen: list[str] = []

        @bus.every("0 9 * * *", name="report", missed=missed)
        async def report(event: Event) -> None:
            seen.append(event.payload["due_at"])

        nine = now().replace(hour=9, minute=0, second=0, microsecond=0)
        last = nine if nine < now() - timedelta(minutes=2) else nine - DAY
        await bus.publish("before")  # which makes the schedule durable
        sql(
            shared_dsn, "update schedules set next_at = ?, not_before = ?", time_text(last - 2 * DAY),
            time_text(last - 3 * DAY),
        )  # fmt: skip
        async with bus:
            await until(lambda: sql(shared_dsn, "select next_at from schedules where next_at > ?", time_text(now())))
            await bus.drain(20)
        days = {"skip": [], "once": [0], "all": [2, 1, 0]}[missed]
        assert seen == [(last - number * DAY).strftime("%Y-%m-%dT%H:%M:%SZ") for number in days]
        assert len(seen) == made

    async def test_one_run_comes_after_the_other(self, shared_bus: EventBus, shared_dsn: str) -> None:
        steps: list[str] = []

        @shared_bus.every(SECOND, name="slow")
        async def slow(event: Event) -> None:
            steps.append(f"begin {event.payload['due_at']}")
            if len(steps) == 1:  # until the next one is there, too
                await until(lambda: len(stored(shared_dsn)) >= 2)
            steps.append(f"end {event.payload['due_at']}")

        async with shared_bus:
            await until(lambda: len(steps) >= 4)
        times = [step.partition(" ")[2] for step in steps[:4]]
        assert [step.partition(" ")[0] for step in steps[:4]] == ["begin", "end"] * 2
        assert times == sorted(times)

    async def test_declared_with_another_rule_the_next_start_goes_by_that(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        for rule in ("0 9 * * *", "30 10 * * *"):
            bus = make_bus(shared_dsn)
            bus.every(rule, _nothing, name="report")
            await bus.publish("before")
        ((rule, next_at),) = sql(shared_dsn, "select rule, cast(next_at as text) from schedules")
        assert rule == "30 10 * * *"
        assert "10:30:00" in next_at

    async def test_the_same_function_twice_needs_two_names(self, bus: EventBus) -> None:
        bus.every("0 9 * * *", _nothing, name="morning")
        bus.every("0 18 * * *", _nothing, name="evening")
        assert list(bus.schedules) == ["morning", "evening"]

        async def other(event: Event) -> None: ...

        with pytest.raises(DuplicateSubscription):
            bus.every("0 9 * * *", other, name="morning")

    async def test_a_rule_that_cannot_be_is_refused_where_it_stands(self, bus: EventBus) -> None:
        with pytest.raises(InvalidSubscription, match="rule"):
            bus.every("every morning", _nothing)
        assert (bus.schedules, bus.consumers) == ({}, ())

    def test_from_threads_as_well(self, shared_dsn: str) -> None:
        seen = []
        bus = SyncEventBus(shared_dsn, auto_migrate=True, spool="off")

        @bus.every(SECOND, name="tick")
        def tick(event: Event) -> None:
            seen.append(event.id)

        with bus:
            while not seen:
                bus.drain(20)

    def test_the_name_of_a_program_run_as_main_is_that_of_its_module(
        self, script: Callable[..., Path], sqlite_dsn: str
    ) -> None:
        source = """
            import asyncio, sys
            from holdfast import EventBus

            bus = EventBus(sys.argv[1])

            @bus.every("0 9 * * 1-5", tz="Europe/Lisbon")
            async def report(event): ...

            asyncio.run(bus.drain(10))
            print(*bus.schedules)
        """
        assert run(script(source), sqlite_dsn) == "app.report\n"
        assert sql(sqlite_dsn, "select name from subscriptions") == [("app.report",)]


async def _nothing(event: Event) -> None:
    """A handler."""


def test_a_spool_of_the_release_before_is_read_as_it_was(tmp_path: Path) -> None:
    """A record without the element that says when it is due."""
    plain = NewEvent(uuid4(), "acme", "a", None, b"1")
    due = plain._replace(due_at=now())
    assert len(encode(plain)) < len(encode(due))
    for one in (plain, due):
        record = encode(one)
        assert decode(record[:12], record[12:]) == one
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.append([due])
    assert [record.event for record in spool.peek(10)] == [due]
    spool.close()
