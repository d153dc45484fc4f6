"""While the store is away: publishes go to the spool, in order, and drain by themselves; a database is really stopped."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from holdfast import Event, EventBus, SyncEventBus
from holdfast.errors import (
    ConfigurationError,
    HoldfastError,
    InvalidEvent,
    OutcomeUnknown,
    SpoolError,
    SpoolFull,
    SpoolPending,
    StoreUnavailable,
)
from holdfast.testing import LocalPostgres

from .waiting import path_of, run, sql, start, stored, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AWAY = {"store_timeout": 0.3, "spool": None}
"""Options of a bus that notices soon and has its spool."""


class Store:
    """A store that can be taken away and given back."""

    dsn: str

    def take_away(self) -> None:
        raise NotImplementedError

    def give_back(self) -> None:
        raise NotImplementedError


class PostgresServer(Store):
    def __init__(self, server: LocalPostgres) -> None:
        self._server, self.dsn = server, server.dsn()

    def take_away(self) -> None:
        self._server.stop("fast")

    def give_back(self) -> None:
        self._server.start()


class LockedFile(Store):
    """Somebody else holds the file's write lock: a process of its own, as two connections of one would share it."""

    def __init__(self, path: Path, holder: Path) -> None:
        self.dsn, self._path, self._source = f"sqlite:///{path}", path, holder
        self._process: Any = None

    def take_away(self) -> None:
        self._process = start(self._source, str(self._path))
        assert self._process.stdout.readline() == "locked\n"

    def give_back(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


HOLDER = """
    import signal, sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("begin immediate")
    print("locked", flush=True)
    while True:
        signal.pause()
"""


@pytest.fixture(scope="module")
def own_server() -> Iterator[LocalPostgres]:
    """A server of this file's own: others must not lose theirs."""
    with LocalPostgres(fsync=False, settings={"full_page_writes": "off", "shared_buffers": "32MB"}) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, script: Callable[..., Path]) -> Iterator[Store]:
    if request.param == "sqlite":
        file = LockedFile(tmp_path / "holdfast.db", script(HOLDER, "holder"))
        yield file
        file.give_back()
        return
    server: LocalPostgres = request.getfixturevalue("own_server")
    server.start()
    yield PostgresServer(server)
    server.start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("drop schema if exists holdfast cascade")


def spooled(tmp_path: Path) -> int:
    """Bytes that wait in spool files below the state folder."""
    return sum(file.stat().st_size for file in (tmp_path / "state").rglob("*.spool"))


async def test_the_store_away_means_the_spool_within_store_timeout(
    store: Store, make_bus: Callable[..., EventBus], tmp_path: Path
) -> None:
    timeout = 1.5
    bus = make_bus(store.dsn, **AWAY | {"store_timeout": timeout})
    assert (await bus.publish("a", 0)).where == "store"
    store.take_away()
    began = time.monotonic()
    published = await bus.publish("a", 1)
    assert (published.where, published.deduplicated) == ("spool", False)
    assert time.monotonic() - began < 5 * timeout
    began = time.monotonic()
    assert (await bus.publish("a", 2)).where == "spool"
    assert [one.where for one in await bus.publish_many([{"name": "a", "payload": n} for n in (3, 4)])] == ["spool"] * 2
    assert time.monotonic() - began < timeout, "while the spool holds something nobody waits for the store again"
    assert spooled(tmp_path) > 0
    store.give_back()
    await until(lambda: len(stored(store.dsn)) == 5)
    assert (await until(lambda: _where(bus, "store"))).where == "store"


async def _where(bus: EventBus, where: str) -> Any:
    published = await bus.publish("probe")
    return published if published.where == where else None


async def test_the_order_of_each_key_is_kept_through_the_spool(store: Store, make_bus: Callable[..., EventBus]) -> None:
    seen: dict[str, list[int]] = {f"k{k}": [] for k in range(3)}

    async def handle(event: Event) -> None:
        seen[str(event.key)].append(event.payload)

    bus = make_bus(store.dsn, **AWAY)
    bus.subscribe("a", handle, name="h")
    wheres: list[str] = []

    async def publish(n: int) -> None:
        wheres.append((await bus.publish("a", n, key=f"k{n % 3}")).where)

    async with bus:
        await asyncio.gather(*(publish(n) for n in range(30)))
        store.take_away()
        await asyncio.gather(*(publish(n) for n in range(30, 60)))
        for n in range(60, 75):
            await publish(n)
        store.give_back()
        n = 75
        while wheres[-1] != "store":  # some while the spool drains
            await publish(n)
            n += 1
        await bus.drain(30)
    assert {"store", "spool"} == set(wheres)
    assert seen == {f"k{k}": [m for m in range(n) if m % 3 == k] for k in range(3)}


async def test_the_spool_drains_after_a_restart(
    store: Store, make_bus: Callable[..., EventBus], tmp_path: Path
) -> None:
    first = make_bus(store.dsn, **AWAY)
    await first.publish("before")
    store.take_away()
    ids = [(await first.publish("a", n, key="k")).event_id for n in range(5)]
    await first.close()
    assert spooled(tmp_path) > 0
    store.give_back()
    assert stored(store.dsn) == ["before"]
    seen: list[Event] = []
    second = make_bus(store.dsn, **AWAY)
    second.subscribe("a", seen.append, name="h")
    await second.drain(20)
    assert [(event.id, event.payload) for event in seen] == list(zip(ids, range(5), strict=True))
    assert spooled(tmp_path) == 0


CRASHING = """
    import asyncio, os, signal, sys
    from holdfast import EventBus

    async def main():
        bus = EventBus(sys.argv[1], auto_migrate=True, store_timeout=0.3)
        for n in range(5):
            print((await bus.publish("a", n, key="k")).where, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())
"""


async def test_what_a_killed_process_had_spooled_is_adopted(
    store: Store, make_bus: Callable[..., EventBus], script: Callable[..., Path]
) -> None:
    first = make_bus(store.dsn, **AWAY)
    await first.publish("before")
    await first.close()
    store.take_away()
    with start(script(CRASHING, "crashing"), store.dsn) as process:
        output, _ = await asyncio.to_thread(process.communicate, timeout=30)
    assert (process.returncode, output) == (-signal.SIGKILL, "spool\n" * 5)
    store.give_back()
    seen: list[int] = []
    second = make_bus(store.dsn, **AWAY)
    second.subscribe("a", lambda event: seen.append(event.payload), name="h")
    await second.publish("a", 5, key="k")
    await second.drain(20)
    assert seen == list(range(6))


async def test_a_store_that_was_never_there_means_the_spool_too(
    store: Store, make_bus: Callable[..., EventBus]
) -> None:
    first = make_bus(store.dsn, **AWAY)
    await first.publish("before")
    await first.close()
    store.take_away()
    seen: list[Event] = []
    bus = make_bus(store.dsn, **AWAY)
    bus.subscribe("a", seen.append, name="h")
    async with bus:
        assert (await bus.publish("a")).where == "spool"
        store.give_back()
        await until(lambda: seen, seconds=30)
    assert stored(store.dsn) == ["before", "a"]


async def test_defaults_and_times_of_spooled_events(store: Store, make_bus: Callable[..., EventBus]) -> None:
    from datetime import UTC, datetime

    bus = make_bus(store.dsn, **AWAY)
    await bus.publish("before")
    store.take_away()
    began = datetime.now(UTC)
    event_id = uuid4()
    await bus.publish("a", {"x": 1}, tenant_id="t", key="k", headers={"h": "v"}, event_id=event_id)
    ended = datetime.now(UTC)
    store.give_back()
    seen: list[Event] = []
    bus.subscribe("a", seen.append, name="h", start="beginning")
    await bus.drain(20)
    (event,) = seen
    assert (event.id, event.payload, event.tenant_id, event.key) == (event_id, {"x": 1}, "t", "k")
    assert event.headers["h"] == "v"
    assert began <= event.occurred_at <= ended, "when it occurred, not when it was stored"


async def test_the_same_event_again_while_away_is_stored_once(store: Store, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(store.dsn, **AWAY)
    await bus.publish("before")
    event_id = uuid4()
    store.take_away()
    for _ in range(3):
        assert (await bus.publish("a", 1, event_id=event_id)).event_id == event_id
    store.give_back()
    await bus.drain(20)
    assert stored(store.dsn) == ["before", "a"]


async def test_bad_events_are_refused_while_away_as_well(
    store: Store, make_bus: Callable[..., EventBus], tmp_path: Path
) -> None:
    bus = make_bus(store.dsn, **AWAY)
    await bus.publish("before")
    store.take_away()
    for content in ({"name": "a b"}, {"name": "a", "payload": {1}}, {"name": "a", "key": ""}):
        with pytest.raises(InvalidEvent):
            await bus.publish(**content)  # type: ignore[arg-type]
    assert spooled(tmp_path) == 0


async def test_without_a_spool_the_error_says_what_is_known(store: Store, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(store.dsn, store_timeout=0.3, spool="off")
    await bus.publish("before")
    store.take_away()
    event_id = uuid4()
    with pytest.raises((StoreUnavailable, OutcomeUnknown)):
        await bus.publish("a", 1, event_id=event_id)
    with pytest.raises(StoreUnavailable):
        await bus.publish("a", 1, event_id=event_id)
    store.give_back()
    await until(lambda: _published(bus, event_id))
    assert stored(store.dsn) == ["before", "a"]


async def _published(bus: EventBus, event_id: Any) -> bool:
    try:
        await bus.publish("a", 1, event_id=event_id)
    except HoldfastError:
        return False
    return True


async def test_a_spool_in_memory_says_so(store: Store, make_bus: Callable[..., EventBus], tmp_path: Path) -> None:
    bus = make_bus(store.dsn, store_timeout=0.3, spool="memory")
    await bus.publish("before")
    store.take_away()
    assert (await bus.publish("a")).where == "memory"
    assert spooled(tmp_path) == 0
    store.give_back()
    await bus.drain(20)
    assert stored(store.dsn) == ["before", "a"]


async def test_a_full_spool_refuses_clearly(store: Store, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(store.dsn, store_timeout=0.3, spool=None, spool_limit=8192)
    await bus.publish("before")
    store.take_away()
    for _ in range(7):
        assert (await bus.publish("a", "x" * 500)).where == "spool"
    with pytest.raises(SpoolFull) as full:
        await bus.publish_many([{"name": "a", "payload": "x" * 500}] * 10)
    assert full.value.limit == 8192
    assert "spool_limit" in str(full.value)
    store.give_back()
    await bus.drain(20)
    assert stored(store.dsn) == ["before"] + ["a"] * 7


async def test_a_path_for_the_spool_is_used_and_an_unusable_one_named(
    store: Store, make_bus: Callable[..., EventBus], tmp_path: Path
) -> None:
    bus = make_bus(store.dsn, store_timeout=0.3, spool=tmp_path / "mine")
    await bus.publish("before")
    store.take_away()
    assert (await bus.publish("a")).where == "spool"
    assert list((tmp_path / "mine").rglob("*.spool"))
    (tmp_path / "file").touch()
    other = make_bus(store.dsn, store_timeout=0.3, spool=tmp_path / "file" / "below")
    with pytest.raises((SpoolError, ConfigurationError), match="below"):
        await other.publish("a")


async def test_tx_behind_a_spooled_event_of_its_key_waits_or_says_so(
    store: Store, make_bus: Callable[..., EventBus]
) -> None:
    bus = make_bus(store.dsn, **AWAY)
    await bus.publish("before", key="k")
    store.take_away()
    await bus.publish("spooled", key="k")
    with closing(_connect(store.dsn, away=True)) as connection, pytest.raises(SpoolPending):
        await bus.publish("late", key="k", tx=connection)
    store.give_back()
    await until(lambda: "spooled" in stored(store.dsn))
    with closing(_connect(store.dsn)) as connection:
        await bus.publish("late", key="k", tx=connection)
        connection.commit()
    assert stored(store.dsn) == ["before", "spooled", "late"]


def _connect(dsn: str, *, away: bool = False) -> Any:
    if dsn.startswith("sqlite"):
        return sqlite3.connect(path_of(dsn))
    # While the server is away nobody has a connection; one that is closed will do to be refused.
    return psycopg.Connection(psycopg.pq.PGconn.connect(b"host=/nowhere")) if away else psycopg.connect(dsn)


async def test_a_record_that_the_store_refuses_is_set_aside_and_its_key_goes_on(
    store: Store, make_bus: Callable[..., EventBus], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    event_id = uuid4()
    bus = make_bus(store.dsn, **AWAY)
    await bus.publish("first", 1, event_id=event_id, key="k")
    store.take_away()
    for name, given in (("a.1", None), ("a.bad", event_id), ("a.2", None)):
        assert (await bus.publish(name, event_id=given, key="k")).where == "spool"
    store.give_back()
    await bus.drain(20)
    assert stored(store.dsn) == ["first", "a.1", "a.2"]
    (quarantine,) = (tmp_path / "state").rglob("quarantine.jsonl")
    (line,) = quarantine.read_text().splitlines()
    assert json.loads(line)["id"] == str(event_id)
    assert str(event_id) in caplog.text


async def test_a_worker_survives_the_stores_absence(store: Store, make_bus: Callable[..., EventBus]) -> None:
    """Lag returns to zero without anybody's help; what was handled is not handled again and again."""
    seen: list[int] = []

    async def handle(event: Event) -> None:
        seen.append(event.payload)

    bus = make_bus(store.dsn, **AWAY)
    bus.subscribe("a", handle, name="h")
    async with bus:
        for round_ in range(2):
            for n in range(10):
                await bus.publish("a", round_ * 20 + n)
            await until(lambda round_=round_: len(set(seen)) >= round_ * 20 + 10)
            store.take_away()
            for n in range(10, 20):
                assert (await bus.publish("a", round_ * 20 + n)).where == "spool"
            store.give_back()
            await until(lambda round_=round_: len(set(seen)) == round_ * 20 + 20, seconds=30)
        await bus.drain(20)
    assert sorted(set(seen)) == list(range(40))
    assert len(seen) <= 60


def test_the_synchronous_bus_spools_as_well(store: Store) -> None:
    bus = SyncEventBus(store.dsn, auto_migrate=True, store_timeout=0.3)
    try:
        bus.publish("before")
        store.take_away()
        assert bus.publish("a").where == "spool"
        store.give_back()
        bus.drain(20)
    finally:
        bus.close()
    assert stored(store.dsn) == ["before", "a"]


LEAVING = """
    import asyncio, sys
    from holdfast import EventBus

    async def main():
        bus = EventBus(sys.argv[1], auto_migrate=True, store_timeout=0.3)
        print((await bus.publish("a")).where)

    asyncio.run(main())
"""


async def test_a_program_that_spooled_exits_cleanly(
    store: Store, make_bus: Callable[..., EventBus], script: Callable[..., Path]
) -> None:
    first = make_bus(store.dsn, **AWAY)
    await first.publish("before")
    await first.close()
    store.take_away()
    with start(script(LEAVING, "leaving"), store.dsn) as process:
        output, errors = await asyncio.to_thread(process.communicate, timeout=30)
    assert (process.returncode, output) == (0, "spool\n"), errors
    assert "Traceback" not in errors


def test_two_stores_never_share_a_spool(tmp_path: Path, script: Callable[..., Path]) -> None:
    source = script(
        """
        import asyncio, sys
        from holdfast import EventBus

        async def main():
            for name in ("one", "two"):
                bus = EventBus(f"sqlite:///{name}.db", spool="spool")
                await bus.publish(name)
                await bus.close()

        asyncio.run(main())
        """
    )
    run(source)
    assert len([path for path in (tmp_path / "spool").iterdir() if path.is_dir()]) == 2
    for name in ("one", "two"):
        assert [row for (row,) in sql(f"sqlite:///{tmp_path / name}.db", "select event_name from event_log")] == [name]


async def test_programs_that_run_for_a_moment_empty_the_spool(store: Store, make_bus: Callable[..., EventBus]) -> None:
    """Each one opens, publishes once and closes; what an outage left must not grow with every run."""

    async def publish_once(name: str) -> str:
        bus = make_bus(store.dsn, **AWAY)
        published = await bus.publish(name)
        await bus.close()
        return published.where

    assert await publish_once("before") == "store"
    store.take_away()
    assert [await publish_once(name) for name in ("a", "b", "c")] == ["spool"] * 3
    store.give_back()
    assert await publish_once("d") == "store", "behind the others, which the store has taken meanwhile"
    assert stored(store.dsn) == ["before", "a", "b", "c", "d"]


async def test_a_close_brings_what_the_store_takes(store: Store, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(store.dsn, **AWAY)
    await bus.publish("before")
    store.take_away()
    for _ in range(150):
        await bus.publish("a")
    store.give_back()
    other = make_bus(store.dsn, **AWAY | {"store_timeout": 10})
    await bus.close()
    await other.publish("b")
    await other.close()
    assert stored(store.dsn) == ["before"] + ["a"] * 150 + ["b"]


async def test_without_a_home_publishing_goes_on_without_a_spool(
    make_bus: Callable[..., EventBus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "below"))
    bus = make_bus(f"sqlite:///{tmp_path / 'shop.db'}", spool=None)
    assert (await bus.publish("a")).where == "store"
    assert "HOLDFAST_SPOOL" in caplog.text
