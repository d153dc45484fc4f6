"""Publishing: what is returned, what is inherited, what becomes of repeats, neighbours and cancelled calls."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from holdfast import Event, EventBus, Published
from holdfast.errors import BusStateError, HoldfastError, IdConflict, InvalidEvent, PayloadTooLarge
from holdfast.ids import new_id

from .waiting import run, sql, stored, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def collected(bus: EventBus, *, pattern: str = "**", timeout: float = 10) -> list[Event]:
    """All events of *bus*, in the order in which a subscription with one place sees them."""
    found: list[Event] = []

    async def collect(event: Event) -> None:
        found.append(event)

    bus.subscribe(pattern, collect, name=f"collect-{uuid4()}", start="beginning", partitions=1, concurrency=1)
    await bus.drain(timeout)
    return found


# ---- a tenant that must be named


async def test_a_bus_that_requires_a_tenant_refuses_events_without_one_and_stores_nothing(
    make_bus: Callable[..., EventBus], shared_dsn: str
) -> None:
    bus = make_bus(shared_dsn, require_tenant=True)
    with pytest.raises(InvalidEvent, match="tenant_id is missing; .*require_tenant=True") as refused:
        await bus.publish("order.placed", {})
    assert (refused.value.field, refused.value.index) == ("tenant_id", None)
    items = [{"name": "order.placed", "payload": {}, "tenant_id": "acme"}, {"name": "order.placed", "payload": {}}]
    with pytest.raises(InvalidEvent) as refused:
        await bus.publish_many(items)
    assert (refused.value.field, refused.value.index) == ("tenant_id", 1)
    await bus.publish("order.paid", {}, tenant_id="acme")
    assert [(event.name, event.tenant_id) for event in await collected(bus)] == [("order.paid", "acme")]


async def test_what_a_handler_publishes_inherits_the_tenant_that_is_required(
    make_bus: Callable[..., EventBus], shared_dsn: str
) -> None:
    bus = make_bus(shared_dsn, require_tenant=True)

    @bus.subscribe("order.placed", name="mailer")
    async def mail(event: Event) -> None:
        await bus.publish("mail.sent", {})

    await bus.publish("order.placed", {}, tenant_id="acme")
    await bus.drain(10)
    assert [event.tenant_id for event in await collected(bus, pattern="mail.*")] == ["acme"]


# ---- what is returned and stored


async def test_it_returns_the_id_and_where_the_event_is(bus: EventBus) -> None:
    published = await bus.publish("order.placed", {"order_id": 1})
    assert isinstance(published, Published)
    assert isinstance(published.event_id, UUID)
    assert published == Published(published.event_id, "store", deduplicated=False)


async def test_defaults_are_tenant_default_no_key_no_headers_and_the_stores_time(bus: EventBus) -> None:
    before = datetime.now(UTC)
    published = await bus.publish("order.placed")
    (event,) = await collected(bus)
    assert (event.id, event.tenant_id, event.name, event.key) == (published.event_id, "default", "order.placed", None)
    assert (event.payload, dict(event.headers), event.causation_id) == (None, {}, None)
    assert event.correlation_id == str(event.id)
    assert abs((event.occurred_at - before).total_seconds()) < 5


async def test_what_was_given_arrives(bus: EventBus) -> None:
    when = datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    payload = {"a": [1, 2.5, None, True, "ünïcødé 🎉"], "b": {"c": -(2**63)}}
    await bus.publish("a.b", payload, tenant_id="acme", key="order-1", headers={"trace": "x"}, occurred_at=when)
    (event,) = await collected(bus)
    assert (event.tenant_id, event.key, event.payload, event.occurred_at) == ("acme", "order-1", payload, when)
    assert dict(event.headers) == {"trace": "x"}


async def test_it_is_stored_when_publish_returns(shared_bus: EventBus, shared_dsn: str) -> None:
    for name in ("a", "b", "c"):
        await shared_bus.publish(name)
        assert stored(shared_dsn)[-1] == name


# ---- the same event again


@pytest.mark.parametrize("make_id", [uuid4, lambda: str(uuid4()), new_id], ids=["random", "text", "by time"])
async def test_the_same_id_and_content_is_the_same_event(bus: EventBus, make_id: Callable[[], Any]) -> None:
    event_id = make_id()
    first = await bus.publish("a", {"x": 1, "y": 2}, tenant_id="t", key="k", event_id=event_id)
    again = await bus.publish("a", {"y": 2, "x": 1}, tenant_id="t", key="k", event_id=event_id)
    assert (first.event_id, first.deduplicated) == (UUID(str(event_id)), False)
    assert (again.event_id, again.deduplicated) == (UUID(str(event_id)), True)
    assert len(await collected(bus)) == 1


@pytest.mark.parametrize(
    "change",
    [{"name": "b"}, {"payload": {"x": 2}}, {"payload": {"x": True}}, {"tenant_id": "u"}, {"key": "l"}, {"key": None}],
    ids=str,
)
async def test_other_content_under_the_id_is_a_conflict(bus: EventBus, change: dict[str, Any]) -> None:
    event_id = uuid4()
    content: dict[str, Any] = {"name": "a", "payload": {"x": 1}, "tenant_id": "t", "key": "k"}
    await bus.publish(**content, event_id=event_id)
    with pytest.raises(IdConflict) as refused:
        await bus.publish(**(content | change), event_id=event_id)
    assert (refused.value.event_id, refused.value.index) == (event_id, None)
    (event,) = await collected(bus)
    assert (event.name, event.payload, event.tenant_id, event.key) == ("a", {"x": 1}, "t", "k")


async def test_the_same_new_id_from_ten_calls_at_once_is_one_event(bus: EventBus) -> None:
    event_id = uuid4()
    results = await asyncio.gather(*(bus.publish("a", 1, event_id=event_id) for _ in range(10)))
    assert sorted(one.deduplicated for one in results) == [False] + [True] * 9
    assert len(await collected(bus)) == 1


async def test_a_conflict_among_calls_at_once_concerns_one_of_them(bus: EventBus) -> None:
    event_id = uuid4()
    first, second, third = await asyncio.gather(
        bus.publish("a", 1, event_id=event_id), bus.publish("a", 2, event_id=event_id), bus.publish("b"),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(first, Published)
    assert isinstance(second, IdConflict)
    assert isinstance(third, Published)


# ---- many calls at once


async def test_concurrent_publishes_of_a_key_keep_the_order_of_the_calls(bus: EventBus) -> None:
    await asyncio.gather(*(bus.publish("a", {"n": n}, key=f"k{n % 3}") for n in range(300)))
    seen = [event.payload["n"] for event in await collected(bus)]
    for key in range(3):
        assert [n for n in seen if n % 3 == key] == [n for n in range(300) if n % 3 == key]


async def test_calls_at_once_share_transactions(emptied_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(emptied_dsn)
    await bus.publish("warm.up")
    await asyncio.gather(*(bus.publish("a", n) for n in range(200)))
    ((transactions,),) = sql(emptied_dsn, "select count(distinct txid::text) from event_log where event_name = 'a'")
    assert transactions < 20


async def test_a_neighbour_that_the_database_refuses_harms_nobody(
    own_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    """Another program's rule on the log, which Holdfast cannot know."""
    bus = make_bus(own_dsn)
    await bus.publish("warm.up")
    if own_dsn.startswith("sqlite"):
        sql(own_dsn, "create trigger no_bad before insert on event_log when new.event_name = 'bad' begin "
            "select raise(abort, 'bad'); end")  # fmt: skip
    else:
        sql(own_dsn, "alter table event_log add check (event_name <> 'bad')")
    names = ["good.1", "good.2", "bad", "good.3", "bad", "good.4"]
    results = await asyncio.gather(*(bus.publish(name) for name in names), return_exceptions=True)
    for name, result in zip(names, results, strict=True):
        assert isinstance(result, HoldfastError if name == "bad" else Published), (name, result)
    assert stored(own_dsn) == ["warm.up", "good.1", "good.2", "good.3", "good.4"]


async def test_invalid_neighbours_harm_nobody(bus: EventBus) -> None:
    results = await asyncio.gather(
        bus.publish("good"), bus.publish("bad name"), bus.publish("good", {1, 2}), bus.publish("good"),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(one) for one in results] == [Published, InvalidEvent, InvalidEvent, Published]
    assert len(await collected(bus)) == 2


# ---- cancelled calls


async def test_cancelled_while_it_queues_it_is_withdrawn(bus: EventBus) -> None:
    await bus.publish("warm.up")
    flying = asyncio.create_task(bus.publish("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first one is on its way: what comes now has to queue
    queued = asyncio.create_task(bus.publish("second"))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    await flying
    await bus.publish("third")
    assert [event.name for event in await collected(bus)] == ["warm.up", "first", "third"]


async def test_cancelled_at_any_step_the_repeat_with_its_id_is_safe(bus: EventBus) -> None:
    """The event may exist; never twice, and neighbours in the same transaction are not cancelled with it."""
    await bus.publish("warm.up")
    for steps in range(12):
        event_id = uuid4()
        call = asyncio.create_task(bus.publish("cancelled", steps, event_id=event_id))
        neighbour = asyncio.create_task(bus.publish("neighbour", steps))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            await bus.publish("cancelled", steps, event_id=event_id)
        await neighbour
    events = await collected(bus)
    assert sorted(event.payload for event in events if event.name == "cancelled") == list(range(12))
    assert sorted(event.payload for event in events if event.name == "neighbour") == list(range(12))


@pytest.mark.parametrize("steps", range(6))
async def test_a_close_that_is_cancelled_leaves_nobody_waiting(bus: EventBus, steps: int) -> None:
    await bus.publish("warm.up")
    calls = [asyncio.create_task(bus.publish("first"))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first one is on its way: what comes now has to queue
    calls.append(asyncio.create_task(bus.publish("second")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(bus.close())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    for call in calls:
        assert (await asyncio.wait_for(call, 10)).where != "spool"


async def test_a_timeout_round_publish_is_a_cancel_like_any_other(bus: EventBus) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await bus.publish("a")
    await bus.publish("b")
    assert [event.name for event in await collected(bus, pattern="b")] == ["b"]


# ---- publish_many


@dataclass
class Placed:
    name: str
    payload: Any
    key: str | None = None


async def test_items_are_mappings_or_objects(bus: EventBus) -> None:
    ids = [uuid4(), uuid4(), uuid4()]
    published = await bus.publish_many(
        [
            {"name": "a", "payload": 1, "tenant_id": "t", "key": "k", "event_id": ids[0]},
            {"name": "b", "payload": 2, "id": str(ids[1]), "headers": {"x": "y"}},
            SimpleNamespace(name="c", payload=3, id=ids[2], occurred_at=datetime(2020, 1, 1, tzinfo=UTC)),
            Placed("d", 4, key="k"),
        ]
    )
    assert [one.event_id for one in published[:3]] == ids
    events = await collected(bus)
    assert [(event.name, event.payload, event.key) for event in events] == [
        ("a", 1, "k"), ("b", 2, None), ("c", 3, None), ("d", 4, "k"),
    ]  # fmt: skip
    assert events[0].tenant_id == "t"
    assert events[1].headers["x"] == "y"
    assert events[2].occurred_at == datetime(2020, 1, 1, tzinfo=UTC)


async def test_an_event_that_was_received_can_be_published_as_an_item(
    bus: EventBus, sqlite_dsn: str, tmp_path: Path
) -> None:
    await bus.publish("a", {"x": 1}, tenant_id="t", key="k", headers={"trace": "y"})
    (event,) = await collected(bus)
    other = EventBus(f"{sqlite_dsn}-2", spool="off")
    try:
        await other.publish_many([event])
        (copy,) = await collected(other)
    finally:
        await other.close()
    assert (copy.id, copy.name, copy.payload, copy.tenant_id, copy.key, dict(copy.headers), copy.occurred_at) == (
        event.id, event.name, event.payload, event.tenant_id, event.key, dict(event.headers), event.occurred_at,
    )  # fmt: skip


async def test_nothing_published_is_nothing_stored(bus: EventBus) -> None:
    assert await bus.publish_many([]) == []
    assert await bus.publish_many(iter(())) == []


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"name": "a b", "payload": 1}, "name"),
        ({"payload": 1}, "name"),
        ({"name": "a"}, "payload"),
        ({"name": "a", "payload": {"x": [0, float("nan")]}}, "payload.x[1]"),
        ({"name": "a", "payload": 1, "key": ""}, "key"),
        ({"name": "a", "payload": 1, "tenant_id": "x" * 256}, "tenant_id"),
        ({"name": "a", "payload": 1, "event_id": "nonsense"}, "event_id"),
        ({"name": "a", "payload": 1, "id": "nonsense"}, "event_id"),
        ({"name": "a", "payload": 1, "event_id": UUID(int=1), "id": UUID(int=2)}, "event_id"),
        ({"name": "a", "payload": 1, "occurred_at": datetime(2020, 1, 1)}, "occurred_at"),  # noqa: DTZ001
        ({"name": "a", "payload": 1, "headers": {"x": 1}}, "headers.x"),
        ({"name": "a", "payload": 1, "headers": [1]}, "headers"),
        ({"name": "a", "payload": 1, "tenant": "t"}, "tenant"),
        ({"name": "a", "payload": 1, 7: "t"}, "7"),
        ("a", "name"),
        (None, "name"),
    ],
    ids=str,
)
async def test_one_bad_item_refuses_all_with_its_index_and_field(bus: EventBus, bad: Any, field: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        await bus.publish_many([{"name": "good", "payload": 1}, {"name": "good", "payload": 2}, bad])
    assert (refused.value.index, refused.value.field) == (2, field)
    assert str(refused.value).startswith(f"item 2: {field}")
    assert await collected(bus) == []


async def test_one_conflict_refuses_all_with_its_index(bus: EventBus) -> None:
    event_id = uuid4()
    await bus.publish("a", 1, event_id=event_id)
    with pytest.raises(IdConflict) as refused:
        await bus.publish_many(
            [
                {"name": "b", "payload": 1},
                {"name": "a", "payload": 2, "event_id": event_id},
                {"name": "c", "payload": 1},
            ]
        )
    assert (refused.value.event_id, refused.value.index) == (event_id, 1)
    assert [event.name for event in await collected(bus)] == ["a"]


async def test_a_list_that_contradicts_itself_is_a_conflict(bus: EventBus) -> None:
    event_id = uuid4()
    with pytest.raises(IdConflict) as refused:
        await bus.publish_many([{"name": "a", "payload": n, "event_id": event_id} for n in range(2)])
    assert refused.value.index == 1
    assert await collected(bus) == []


async def test_a_list_with_a_repetition_stores_it_once(bus: EventBus) -> None:
    event_id = uuid4()
    published = await bus.publish_many([{"name": "a", "payload": 1, "event_id": event_id}] * 2)
    assert [one.deduplicated for one in published] == [False, True]
    assert len(await collected(bus)) == 1


async def test_a_list_is_one_transaction_in_its_order(emptied_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(emptied_dsn)
    await asyncio.gather(
        *(bus.publish("single") for _ in range(5)),
        bus.publish_many([{"name": f"n{n}", "payload": n} for n in range(1500)]),
        *(bus.publish("single") for _ in range(5)),
    )
    rows = sql(
        emptied_dsn, "select event_name, txid::text from event_log where event_name <> 'single' order by position"
    )
    assert [name for name, _ in rows] == [f"n{n}" for n in range(1500)]
    assert len({txid for _, txid in rows}) == 1


# ---- inside handlers


async def test_events_published_while_handling_inherit_tenant_and_correlation(bus: EventBus) -> None:
    @bus.subscribe("first", name="first")
    async def first(event: Event) -> None:
        await bus.publish("second", tenant_id=None)
        await bus.publish_many([{"name": "second.many", "payload": None}])
        await asyncio.gather(asyncio.create_task(bus.publish("second.task")))
        await bus.publish("second.other", tenant_id="other", headers={"mine": "x"})

    @bus.subscribe("second", name="second")
    def second(event: Event) -> None:
        pass

    @bus.subscribe("second", name="third")
    async def third(event: Event) -> None:
        await bus.publish("third")

    root = await bus.publish("first", tenant_id="acme")
    await bus.drain(10)
    events = {event.name: event for event in await collected(bus)}
    assert events.keys() == {"first", "second", "second.many", "second.task", "second.other", "third"}
    for name in ("second", "second.many", "second.task", "second.other"):
        event = events[name]
        assert event.causation_id == str(root.event_id)
        assert event.correlation_id == str(root.event_id)
        assert event.tenant_id == ("other" if name == "second.other" else "acme")
    assert events["second.other"].headers["mine"] == "x"
    assert events["third"].causation_id == str(events["second"].id)
    assert events["third"].correlation_id == str(root.event_id)
    assert events["third"].tenant_id == "acme"


async def test_a_correlation_from_outside_goes_on(bus: EventBus) -> None:
    @bus.subscribe("first", name="first")
    async def first(event: Event) -> None:
        await bus.publish("second")

    await bus.publish("first", headers={"correlation_id": "request-7"})
    await bus.drain(10)
    (event,) = await collected(bus, pattern="second")
    assert event.correlation_id == "request-7"


async def test_an_event_published_outside_of_handlers_inherits_nothing(bus: EventBus) -> None:
    @bus.subscribe("first", name="first")
    async def first(event: Event) -> None: ...

    async with bus:
        await bus.publish("first", tenant_id="acme")
        await bus.drain(10)
        await bus.publish("second")
        (event,) = await collected(bus, pattern="second")
    assert (event.tenant_id, event.causation_id) == ("default", None)


async def test_headers_of_the_wrong_kind_are_refused_inside_a_handler_too(bus: EventBus) -> None:
    refused: list[BaseException] = []

    @bus.subscribe("first", name="first")
    async def first(event: Event) -> None:
        for headers in (7, ["x"], "ab", {"x": 1}):
            try:
                await bus.publish("second", headers=headers)  # type: ignore[arg-type]
            except Exception as error:
                refused.append(error)

    await bus.publish("first")
    await bus.drain(10)
    assert [type(error) for error in refused] == [InvalidEvent] * 4


async def test_strange_headers_of_another_program_do_not_spoil_what_a_handler_publishes(
    shared_bus: EventBus, shared_dsn: str
) -> None:
    @shared_bus.subscribe("first", name="first")
    async def first(event: Event) -> None:
        await shared_bus.publish("second")

    await shared_bus.publish("warm.up")
    sql(shared_dsn, "insert into event_store (tenant_id, event_name, payload, headers) values ('t', 'first', 'null', ?)",
        '{"correlation_id": 5, "x": [1]}')  # fmt: skip
    await shared_bus.drain(10)
    assert "second" in stored(shared_dsn)


# ---- buses that come and go


NEVER_ENTERED = """
    import asyncio, sys
    from holdfast import EventBus

    bus = EventBus(sys.argv[1], auto_migrate=True)

    @bus.subscribe("a", name="h")
    async def handle(event): ...

    async def main(n):
        published = await bus.publish("a", n)
        await asyncio.gather(*(bus.publish("a", n) for _ in range(5)))
        print(published.where)

    asyncio.run(main(1))
    asyncio.run(main(2))
"""


def test_a_bus_that_was_never_entered_publishes_and_exits_cleanly_in_two_loops(
    dsn: str, script: Callable[..., Path]
) -> None:
    if dsn == "sqlite://":
        dsn = ":memory:"
    assert run(script(NEVER_ENTERED), "sqlite://" if dsn == ":memory:" else dsn) == "store\nstore\n"


def test_what_two_loops_published_is_all_there(shared_dsn: str, script: Callable[..., Path]) -> None:
    run(script(NEVER_ENTERED), shared_dsn)
    assert stored(shared_dsn) == ["a"] * 12


async def test_a_bus_can_be_used_again_after_close(shared_bus: EventBus, shared_dsn: str) -> None:
    await shared_bus.publish("a")
    await shared_bus.close()
    await shared_bus.publish("b")
    await shared_bus.close()
    await shared_bus.close()
    assert stored(shared_dsn) == ["a", "b"]


async def test_publishing_from_another_thread_and_its_loop_is_routed(bus: EventBus) -> None:
    await bus.publish("warm.up")
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(_attempt(bus.publish("a")))))
    thread.start()
    await until(lambda: outcome)
    thread.join()
    assert isinstance(outcome[0], Published)
    assert [event.name for event in await collected(bus)] == ["warm.up", "a"]


async def test_publishing_from_another_thread_while_the_worker_runs(bus: EventBus) -> None:
    handled: list[Any] = []

    @bus.subscribe("a", name="h")
    async def handle(event: Event) -> None:
        handled.append(event.payload)

    async with bus:
        await asyncio.to_thread(lambda: asyncio.run(bus.publish("a", 1)))
        await until(lambda: handled)
    assert handled == [1]


def test_a_bus_whose_loop_has_stopped_without_closing_answers_with_an_error_or_works(dsn: str) -> None:
    bus = EventBus(dsn, auto_migrate=True, spool="off")
    loop = asyncio.new_event_loop()
    loop.run_until_complete(bus.publish("a"))
    with pytest.raises(BusStateError, match="another event loop"):
        asyncio.run(bus.publish("b"))
    loop.run_until_complete(bus.close())
    loop.close()


FORKED = """
    import asyncio, os, sys
    from holdfast import EventBus
    from holdfast.errors import BusStateError

    bus = EventBus(sys.argv[1], auto_migrate=True)

    async def main():
        await bus.publish("parent")
        child = os.fork()
        if child == 0:
            try:
                await bus.publish("child")
            except BusStateError as error:
                os._exit(3 if "fork" in str(error) else 4)
            except BaseException:
                os._exit(5)
            os._exit(6)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
        await bus.publish("parent")

    asyncio.run(main())
"""


def test_publishing_after_a_fork_is_refused(shared_dsn: str, script: Callable[..., Path]) -> None:
    assert run(script(FORKED), shared_dsn) == "3\n"
    assert stored(shared_dsn) == ["parent", "parent"]


FORKED_SERVER = """
    import asyncio, os, sys
    from holdfast import EventBus

    bus = EventBus(sys.argv[1], auto_migrate=True)
    asyncio.run(bus.publish("parent"))
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(asyncio.wait_for(bus.publish("child"), 10))
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
    asyncio.run(bus.publish("parent"))
"""


def test_a_server_that_forks_after_its_loop_ended_publishes_in_parent_and_child(
    shared_dsn: str, script: Callable[..., Path]
) -> None:
    """As servers do that load the program once and then fork their workers."""
    assert run(script(FORKED_SERVER), shared_dsn) == "0\n"
    assert stored(shared_dsn) == ["parent", "child", "parent"]


FORKED_IDLER = """
    import asyncio, os, sys
    import psycopg
    from holdfast import EventBus

    def sessions():
        with psycopg.connect(sys.argv[1]) as connection:
            return connection.execute(
                "select count(*) from pg_stat_activity where application_name like 'holdfast%' "
                "and datname = current_database()").fetchone()[0]

    bus = EventBus(sys.argv[1], auto_migrate=True)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(bus.publish("parent"))
    before = sessions()
    child = os.fork()
    if child == 0:
        sys.exit()  # with all that an interpreter does when it ends
    os.waitpid(child, 0)
    print(before > 0, sessions() == before)
    loop.run_until_complete(bus.close())
    loop.close()
"""


def test_a_fork_that_ends_leaves_the_parents_sessions_alone(emptied_dsn: str, script: Callable[..., Path]) -> None:
    assert run(script(FORKED_IDLER), emptied_dsn) == "True True\n"


async def test_closing_while_publishes_wait_answers_each_of_them(shared_bus: EventBus, shared_dsn: str) -> None:
    await shared_bus.publish("warm.up")
    calls = [asyncio.create_task(shared_bus.publish("a", n)) for n in range(50)]
    await asyncio.sleep(0)
    await shared_bus.close()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, Published | HoldfastError) for one in results), results
    assert stored(shared_dsn).count("a") == sum(isinstance(one, Published) for one in results)


async def test_an_event_too_large_is_refused_with_its_size(dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(dsn, max_payload=100)
    with pytest.raises(PayloadTooLarge) as refused:
        await bus.publish("a", "x" * 99)
    assert (refused.value.size, refused.value.limit) == (101, 100)
    await bus.publish("a", "x" * 98)
    assert len(await collected(bus)) == 1


async def _attempt(call: Any) -> Any:
    try:
        return await asyncio.wait_for(call, 10)
    except Exception as error:
        return error


async def test_an_event_in_a_handlers_hands_is_processing_for_whoever_looks(
    shared_bus: EventBus, shared_dsn: str
) -> None:
    gate = asyncio.Event()

    @shared_bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        await gate.wait()

    status = "select status from event_store"
    async with shared_bus:
        await shared_bus.publish("a")
        await until(lambda: sql(shared_dsn, status) == [("processing",)])
        gate.set()
        await until(lambda: sql(shared_dsn, status) == [("processed",)])
