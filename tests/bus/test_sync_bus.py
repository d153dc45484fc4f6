"""`SyncEventBus`: the same bus for threads."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast import Delivery, Event, Published, RetryPolicy, SyncEventBus
from holdfast.errors import (
    BusStateError,
    DrainTimeout,
    DuplicateSubscription,
    IdConflict,
    InvalidEvent,
    TransactionError,
    TransactionRequired,
)

from .waiting import complaints, path_of, receipts, run, sql, start, stored, until_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make_sync_bus() -> Iterator[Callable[..., SyncEventBus]]:
    made: list[SyncEventBus] = []

    def make(dsn: str, **options: Any) -> SyncEventBus:
        options = {"auto_migrate": True, "spool": "off", "stop_timeout": 2, "store_timeout": 5, **options}
        made.append(SyncEventBus(dsn, **options))
        return made[-1]

    yield make
    for bus in made:
        bus.close()


@pytest.fixture
def bus(dsn: str, make_sync_bus: Callable[..., SyncEventBus]) -> SyncEventBus:
    return make_sync_bus(dsn)


@pytest.fixture
def shared_bus(shared_dsn: str, make_sync_bus: Callable[..., SyncEventBus]) -> SyncEventBus:
    return make_sync_bus(shared_dsn)


def test_publish_and_publish_many(shared_bus: SyncEventBus, shared_dsn: str) -> None:
    event_id = uuid4()
    published = shared_bus.publish("a", {"x": 1}, tenant_id="t", key="k", event_id=event_id, headers={"h": "v"})
    assert published == Published(event_id, "store", deduplicated=False)
    assert shared_bus.publish("a", {"x": 1}, tenant_id="t", key="k", event_id=event_id).deduplicated
    with pytest.raises(IdConflict):
        shared_bus.publish("a", {"x": 2}, event_id=event_id)
    many = shared_bus.publish_many({"name": f"b{n}", "payload": n} for n in range(3))
    assert [type(one.event_id) for one in many] == [UUID] * 3
    assert shared_bus.publish_many([]) == []
    with pytest.raises(InvalidEvent, match="item 1"):
        shared_bus.publish_many([{"name": "c", "payload": 1}, {"name": "c d", "payload": 1}])
    assert stored(shared_dsn) == ["a", "b0", "b1", "b2"]


def test_handlers_of_both_kinds_in_both_forms(bus: SyncEventBus) -> None:
    seen: list[tuple[str, Any]] = []

    @bus.subscribe("a", name="decorated")
    def decorated(event: Event, delivery: Delivery) -> None:
        assert threading.current_thread() is not threading.main_thread()
        seen.append((delivery.subscription, event.payload))

    async def asynchronous(event: Event) -> None:
        await asyncio.sleep(0)
        seen.append(("async", event.payload))

    assert bus.subscribe("a", asynchronous, name="async") is asynchronous
    assert [one.name for one in bus.consumers] == ["decorated", "async"]
    with pytest.raises(DuplicateSubscription):
        bus.subscribe("a", lambda event: None, name="async")
    bus.publish("a", 1)
    bus.drain(10)
    assert sorted(seen) == [("async", 1), ("decorated", 1)]


def test_with_starts_the_worker(bus: SyncEventBus) -> None:
    seen: list[int] = []
    bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
    with bus as entered:
        assert entered is bus
        bus.publish("a", 1)
        until_sync(lambda: seen == [1])


def test_it_can_be_used_again_after_close(shared_bus: SyncEventBus, shared_dsn: str) -> None:
    seen: list[int] = []
    shared_bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
    for n in range(3):
        with shared_bus:
            shared_bus.publish("a", n)
            shared_bus.drain(10)
        shared_bus.publish("a", n + 10)
        shared_bus.close()
        shared_bus.close()
    shared_bus.drain(10)
    assert sorted(seen) == [0, 1, 2, 10, 11, 12]
    assert receipts(shared_dsn) == 6


def test_many_threads_publish_at_once(bus: SyncEventBus) -> None:
    seen: list[int] = []
    lock = threading.Lock()

    def handle(event: Event) -> None:
        with lock:
            seen.append(event.payload)

    bus.subscribe("a", handle, name="h")
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: bus.publish("a", n), range(200)))
    assert {one.where for one in results} == {"store"}
    bus.drain(20)
    assert sorted(seen) == list(range(200))


def test_one_threads_publishes_of_a_key_keep_their_order(bus: SyncEventBus) -> None:
    seen: dict[str, list[int]] = {f"k{k}": [] for k in range(4)}
    bus.subscribe("a", lambda event: seen[event.key].append(event.payload), name="h")

    def publish(key: int) -> None:
        for n in range(25):
            bus.publish("a", n, key=f"k{key}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(publish, range(4)))
    bus.drain(20)
    assert seen == {f"k{k}": list(range(25)) for k in range(4)}


def test_a_handler_publishes_and_its_event_inherits(bus: SyncEventBus) -> None:
    seen: list[Event] = []

    @bus.subscribe("first", name="first")
    def first(event: Event) -> None:
        bus.publish("second")
        bus.publish_many([{"name": "second", "payload": 1}])

    bus.subscribe("second", seen.append, name="second")
    root = bus.publish("first", tenant_id="acme")
    bus.drain(10)
    assert len(seen) == 2
    for event in seen:
        assert (event.tenant_id, event.causation_id, event.correlation_id) == (
            "acme", str(root.event_id), str(root.event_id),
        )  # fmt: skip


def test_an_async_handler_that_calls_the_bus_is_told(bus: SyncEventBus) -> None:
    told: list[BaseException] = []

    @bus.subscribe("a", name="h")
    async def handle(event: Event) -> None:
        for call in (
            lambda: bus.publish("b"),
            lambda: bus.drain(1),
            bus.close,
            lambda: bus.publish_many([{"name": "b", "payload": 1}]),
        ):
            try:
                call()
            except BusStateError as error:
                told.append(error)

    bus.publish("a")
    bus.drain(10)
    assert len(told) == 4
    assert "EventBus" in str(told[0])


def test_a_handler_may_not_close_or_drain_its_own_bus_for_ever(bus: SyncEventBus) -> None:
    """A plain function that drains waits for itself: the timeout, not a hang."""
    outcome: list[BaseException] = []

    @bus.subscribe("a", name="h")
    def handle(event: Event) -> None:
        try:
            bus.drain(0.3)
        except DrainTimeout as error:
            outcome.append(error)

    bus.publish("a")
    bus.drain(10)
    assert len(outcome) == 1


def test_a_timeout_of_drain_carries_counts(bus: SyncEventBus) -> None:
    go = threading.Event()
    bus.subscribe("a", lambda event: go.wait(20), name="h")
    bus.publish("a")
    with pytest.raises(DrainTimeout) as timed_out:
        bus.drain(0.5)
    assert timed_out.value.unsettled == {"h": 1}
    go.set()
    bus.drain(10)


@pytest.mark.parametrize("commits", [True, False])
def test_tx_joins_the_callers_transaction(shared_bus: SyncEventBus, shared_dsn: str, commits: bool) -> None:
    shared_bus.publish("warm.up")
    if shared_dsn.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(shared_dsn))) as connection:
            shared_bus.publish("a", tx=connection)
            shared_bus.publish_many([{"name": "b", "payload": 1}], tx=connection)
            (connection.commit if commits else connection.rollback)()
    else:
        with psycopg.connect(shared_dsn) as other:
            shared_bus.publish("a", tx=other)
            shared_bus.publish_many([{"name": "b", "payload": 1}], tx=other)
            (other.commit if commits else other.rollback)()
    assert stored(shared_dsn) == (["warm.up", "a", "b"] if commits else ["warm.up"])


def test_an_async_connection_is_refused(emptied_dsn: str, make_sync_bus: Callable[..., SyncEventBus]) -> None:
    bus = make_sync_bus(emptied_dsn)

    async def attempt() -> None:
        async with await psycopg.AsyncConnection.connect(emptied_dsn) as connection:
            with pytest.raises(TransactionError, match="synchronous"):
                bus.publish("a", tx=connection)

    asyncio.run(attempt())


def test_require_tenant(shared_dsn: str, make_sync_bus: Callable[..., SyncEventBus]) -> None:
    bus = make_sync_bus(shared_dsn, require_tenant=True)
    with pytest.raises(InvalidEvent, match="require_tenant=True"):
        bus.publish("a", {})
    with pytest.raises(InvalidEvent, match="item 0"):
        bus.publish_many([{"name": "a", "payload": {}}])
    assert bus.publish("a", {}, tenant_id="acme").where == "store"


def test_require_tx(shared_dsn: str, make_sync_bus: Callable[..., SyncEventBus]) -> None:
    strict = make_sync_bus(shared_dsn, require_tx="strict")
    with pytest.raises(TransactionRequired):
        strict.publish("a")
    warning = make_sync_bus(shared_dsn, require_tx="warn")
    with pytest.warns(UserWarning, match="without tx=") as caught:
        warning.publish("a")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("fails", [True, False])
def test_a_transactional_handler_and_its_publish_are_one(
    shared_bus: SyncEventBus, shared_dsn: str, fails: bool
) -> None:
    @shared_bus.subscribe("a", name="h", transactional=True, retry=RetryPolicy(max_attempts=1))
    def handle(event: Event, delivery: Delivery) -> None:
        shared_bus.publish("b")
        assert "b" not in stored(shared_dsn)
        if fails:
            raise ValueError

    shared_bus.publish("a")
    shared_bus.drain(10)
    assert ("b" in stored(shared_dsn)) is not fails


def test_publishing_inside_a_running_loop_waits_but_works(bus: SyncEventBus) -> None:
    async def main() -> Published:
        return bus.publish("a")

    assert asyncio.run(main()).where == "store"


SCRIPT = """
    import sys
    from holdfast import SyncEventBus

    bus = SyncEventBus(sys.argv[1], auto_migrate=True)
    bus.subscribe("a", lambda event: print(event.payload, flush=True), name="h")
    bus.publish("a", 1)
    if sys.argv[2] == "drain":
        bus.drain(10)
"""


@pytest.mark.parametrize("ending", ["drain", "leave"])
def test_a_script_that_never_closes_its_bus_exits_cleanly(
    shared_dsn: str, script: Callable[..., Path], ending: str
) -> None:
    assert run(script(SCRIPT), shared_dsn, ending) == ("1\n" if ending == "drain" else "")
    assert stored(shared_dsn) == ["a"]


@pytest.mark.parametrize("work", ["publish", "handle"])
def test_closing_needs_no_new_thread(bus: SyncEventBus, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since Python 3.12 there is none to be had where the interpreter is about to end, and a bus closes itself there."""
    bus.subscribe("a", lambda _event, _delivery: None, name="a", transactional=True)
    bus.publish("a")
    if work == "handle":
        bus.start()
        bus.drain(20)

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        bus.close()


FORKED = """
    import os, sys
    from holdfast import SyncEventBus
    from holdfast.errors import BusStateError

    bus = SyncEventBus(sys.argv[1], auto_migrate=True)
    bus.publish("parent")
    child = os.fork()
    if child == 0:
        try:
            bus.publish("child")
            bus.close()
        except BusStateError as error:
            os._exit(3 if "fork" in str(error) else 4)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
    bus.publish("parent")
    bus.close()
"""


def test_a_bus_used_before_a_fork_is_refused_in_the_child_and_works_in_the_parent(
    shared_dsn: str, script: Callable[..., Path]
) -> None:
    assert run(script(FORKED), shared_dsn) == "3\n"
    assert stored(shared_dsn) == ["parent", "parent"]


PRELOADED = """
    import os, sys
    from holdfast import SyncEventBus

    bus = SyncEventBus(sys.argv[1], auto_migrate=True)

    @bus.subscribe("a", name="h")
    def handle(event): ...

    for _ in range(2):
        child = os.fork()
        if child == 0:
            bus.publish("a")
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
    bus.publish("a")
    bus.drain(10)
"""


def test_a_bus_made_before_a_fork_and_used_after_it_works_in_all(shared_dsn: str, script: Callable[..., Path]) -> None:
    """As gunicorn with a preloaded application does."""
    assert run(script(PRELOADED), shared_dsn) == ""
    assert stored(shared_dsn) == ["a", "a", "a"]
    assert receipts(shared_dsn) == 3


RUNNING = """
    import sys
    from holdfast import SyncEventBus

    bus = SyncEventBus(sys.argv[1], auto_migrate=True)

    @bus.subscribe("a", name="h", start="beginning")
    def handle(event):
        print(event.payload, flush=True)

    bus.publish("b")
    bus.run()
    print("over")
"""


def test_run_works_until_sigterm(
    shared_dsn: str, script: Callable[..., Path], make_sync_bus: Callable[..., SyncEventBus]
) -> None:
    make_sync_bus(shared_dsn).publish("a", 1)
    with start(script(RUNNING), shared_dsn) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, complaints(errors), output) == (0, "", "over\n")
    assert sql(shared_dsn, "select count(*) from event_consumers") == [(1,)]
