"""Buses with ``encryption=``: what they store cannot be read without the master key, and all else is as without."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from holdfast import Delivery, Event, EventBus, RetryPolicy, SyncEventBus
from holdfast.encryption import MasterKeys
from holdfast.encryption.inspecting import open_inspector
from holdfast.errors import ConfigurationError, IdConflict, InvalidEvent, KeysUnavailable
from holdfast.sealing import Sealer, Verifier
from holdfast.sealing.findings import Kind
from holdfast.stores import erasing, make_store
from holdfast.stores.filters import DeadFilter, EventFilter, PayloadMatch, ReplayFilter

from .test_spool_bus import AWAY, own_server, store  # noqa: F401 - a fixture and what it needs
from .waiting import path_of, sql, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from .test_spool_bus import Store

SECRET = "ann@example.org"
KEYS = MasterKeys({"first": b"1" * 32})
FAST = RetryPolicy(max_attempts=2, base=0.01)


@pytest.fixture
def bus(shared_dsn: str, make_bus: Callable[..., EventBus]) -> EventBus:
    return make_bus(shared_dsn, encryption=KEYS)


@pytest.fixture
async def desk(shared_dsn: str) -> AsyncIterator[Any]:
    """``desk(keys)``: inspector and operator of the store."""
    opened = []

    def make(keys: Any = None) -> Any:
        made = make_store(shared_dsn)
        opened.append((made, open_inspector(made, keys)))
        return opened[-1][1]

    yield make
    for one, (inspector, _) in opened:
        await inspector.close()
        await one.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Erasing need not wait: nobody remembers keys here."""
    monkeypatch.setattr(erasing, "KEY_SECONDS", 0.0)
    monkeypatch.setattr(erasing, "_KEY_MARGIN_SECONDS", 0.0)


def collect(bus: EventBus, seen: list[Any], **options: Any) -> None:
    @bus.subscribe("**", name="all", retry=FAST, **options)
    async def handle(event: Event) -> None:
        seen.append("erased" if event.is_erased else event.payload)


def forget_keys(bus: EventBus) -> None:
    """As if some seconds had passed."""
    assert bus._live is not None
    assert bus._live._encrypted is not None
    keyring = bus._live._encrypted.codec.keyring
    keyring._by_id.clear()
    keyring._by_subject.clear()


def everything(dsn: str) -> str:
    """All that the store has of events, as text."""
    tables = ("event_log", "deliveries", "attempts", "subject_keys")
    return "\n".join(str(row) for table in tables for row in sql(dsn, f"select * from {table}"))


class TestWhatIsStored:
    async def test_no_payload_can_be_read_and_handlers_see_them_all(self, bus: EventBus, shared_dsn: str) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        await bus.publish("a", {"mail": SECRET}, key="ann")
        await bus.publish_many([{"name": "a", "payload": [SECRET, n], "tenant_id": "acme"} for n in range(3)])
        await bus.drain(15)
        assert seen[0] == {"mail": SECRET}
        assert sorted(seen[1:]) == [[SECRET, n] for n in range(3)]
        assert SECRET not in everything(shared_dsn)
        assert sql(shared_dsn, "select count(*) from subject_keys") == [(2,)]

    async def test_a_subject_is_a_tenant_and_a_key_and_has_one_data_key(self, bus: EventBus, shared_dsn: str) -> None:
        for tenant in ("acme", "other"):
            for key in (None, "k", "k"):
                await bus.publish("a", 1, tenant_id=tenant, key=key)
        rows = sql(shared_dsn, "select tenant_id, event_key from subject_keys")
        assert sorted(rows, key=str) == sorted([(t, k) for t in ("acme", "other") for k in (None, "k")], key=str)

    async def test_rows_that_sql_inserted_stay_plain_and_are_handled(self, bus: EventBus, shared_dsn: str) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        await bus.publish("a", 1)
        sql(shared_dsn, """insert into event_store (event_name, payload) values ('a', '{"by": "sql"}')""")
        await bus.drain(15)
        assert sorted(seen, key=str) == [1, {"by": "sql"}]

    async def test_dead_letters_and_their_news_and_replays(self, bus: EventBus, shared_dsn: str, desk: Any) -> None:
        seen: list[Any] = []

        @bus.subscribe("a", name="fails", retry=FAST)
        async def fail(event: Event) -> None:
            seen.append(event.payload)
            raise ValueError("no reason")

        news: list[Any] = []

        @bus.subscribe("holdfast.**", name="news")
        async def hear(event: Event) -> None:
            news.append(event.payload)

        await bus.publish("a", SECRET, key="k")
        await bus.drain(15)
        assert (seen, [one["subscription"] for one in news]) == ([SECRET] * 2, ["fails"])
        assert SECRET not in everything(shared_dsn)
        inspector, operator = desk(KEYS)
        (letter,) = await inspector.dead(DeadFilter())
        assert letter.payload == SECRET
        (closed,) = await desk()[0].dead(DeadFilter())
        assert list(closed.payload) == ["holdfast.encrypted"]
        await operator.retry_dead(DeadFilter(), actor="me")
        await until(lambda: len(seen) == 4)
        await bus.drain(15)
        new_id = await operator.correct("fails", letter.event_id, "better " + SECRET, actor="me", may_edit=True)
        assert (await inspector.event(new_id)).payload == "better " + SECRET
        assert SECRET not in everything(shared_dsn)

    async def test_an_operator_without_keys_cannot_correct_an_encrypted_event(self, bus: EventBus, desk: Any) -> None:
        @bus.subscribe("a", name="fails", retry=RetryPolicy(max_attempts=1))
        async def fail(event: Event) -> None:
            raise ValueError

        event_id = (await bus.publish("a", SECRET)).event_id
        await bus.drain(15)
        with pytest.raises(ConfigurationError, match="master"):
            await desk()[1].correct("fails", event_id, 1, actor="me", may_edit=True)

    async def test_what_waits_off_the_fast_path_is_decrypted_too(
        self, shared_dsn: str, make_bus: Callable[..., EventBus], desk: Any
    ) -> None:
        bus, seen = make_bus(shared_dsn, encryption=KEYS), list[Any]()
        collect(bus, seen)
        await bus.publish("a", SECRET)
        await bus.drain(15)
        await desk()[1].replay("all", ReplayFilter(), actor="me")
        await until(lambda: seen == [SECRET] * 2)

    async def test_the_bus_of_threads(self, shared_dsn: str) -> None:
        with SyncEventBus(shared_dsn, auto_migrate=True, spool="off", encryption=KEYS) as bus:
            seen: list[Any] = []
            bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
            bus.publish("a", SECRET)
            bus.drain(15)
            assert seen == [SECRET]
        assert SECRET not in everything(shared_dsn)


class TestRepeats:
    async def test_the_same_id_and_content_is_the_same_event_and_other_content_a_conflict(self, bus: EventBus) -> None:
        event_id = uuid4()
        assert not (await bus.publish("a", {"x": 1, "y": 2}, event_id=event_id)).deduplicated
        assert (await bus.publish("a", {"y": 2, "x": 1}, event_id=event_id)).deduplicated
        with pytest.raises(IdConflict):
            await bus.publish("a", {"x": 1, "y": 3}, event_id=event_id)
        items = [{"name": "a", "payload": n, "event_id": uuid4()} for n in range(3)]
        await bus.publish_many(items)
        assert all(one.deduplicated for one in await bus.publish_many(items))
        with pytest.raises(IdConflict):
            await bus.publish_many([*items[:2], items[2] | {"payload": 7}])

    async def test_within_a_transaction_too(self, bus: EventBus, shared_dsn: str) -> None:
        await bus.publish("warm.up")
        event_id = uuid4()
        with closing(connect(shared_dsn)) as connection:
            for deduplicated in (False, True):
                found = await bus.publish("a", SECRET, event_id=event_id, tx=connection)
                assert found.deduplicated is deduplicated
            with pytest.raises(IdConflict):
                await bus.publish("a", "other", event_id=event_id, tx=connection)


def connect(dsn: str) -> Any:
    if dsn.startswith("sqlite"):
        connection = sqlite3.connect(path_of(dsn), timeout=10)
        connection.execute("create table if not exists mine (n integer)")
        connection.execute("begin immediate")
        return connection
    return psycopg.connect(dsn)


class TestTransactions:
    async def test_a_new_subject_in_a_transaction_that_keeps_others_from_writing(
        self, bus: EventBus, shared_dsn: str
    ) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        await bus.publish("warm.up", 0)
        with closing(connect(shared_dsn)) as connection:
            for n in (1, 2):  # the second finds the key of the first, which nobody else can see yet
                await bus.publish("a", n, key="new", tx=connection)
            connection.commit()
        forget_keys(bus)
        await bus.publish("a", 3, key="new")
        await bus.drain(15)
        assert seen == [0, 1, 2, 3]
        assert sql(shared_dsn, "select count(*) from subject_keys where event_key = 'new'") == [(1,)]

    async def test_rolled_back_it_leaves_nothing_behind_that_could_be_used(
        self, bus: EventBus, shared_dsn: str
    ) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        await bus.publish("warm.up", 0)
        for _ in range(2):
            with closing(connect(shared_dsn)) as connection:
                await bus.publish("a", "undone", key="new", tx=connection)
                connection.rollback()
        await bus.publish("a", "done", key="new")
        await bus.drain(15)
        assert seen == [0, "done"]

    async def test_two_buses_of_one_file_agree_on_the_key_of_a_subject(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        one, two, seen = make_bus(shared_dsn, encryption=KEYS), make_bus(shared_dsn, encryption=KEYS), list[Any]()
        collect(one, seen)
        await one.publish("warm.up", 0)
        await two.publish("warm.up", 0)
        with closing(connect(shared_dsn)) as connection:
            await one.publish("a", "rolled back", key="new", tx=connection)  # on SQLite it proposes a key
            connection.rollback()
        await two.publish("a", 1, key="new")
        with closing(connect(shared_dsn)) as connection:
            await one.publish("a", 2, key="new", tx=connection)
            connection.commit()
        await one.drain(15)
        assert sorted(seen) == [0, 0, 1, 2]

    async def test_the_first_use_of_a_file_within_a_transaction(
        self, sqlite_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        bus, seen = make_bus(sqlite_dsn, encryption=KEYS), list[Any]()
        collect(bus, seen)
        with closing(connect(sqlite_dsn)) as connection:
            await bus.publish("a", SECRET, tx=connection)
            connection.commit()
        await bus.drain(15)
        assert seen == [SECRET]
        assert SECRET not in everything(sqlite_dsn)

    async def test_a_transactional_handler_publishes_for_a_new_subject(self, bus: EventBus, shared_dsn: str) -> None:
        seen: list[Any] = []

        @bus.subscribe("a", name="first", transactional=True)
        async def handle(event: Event, delivery: Delivery) -> None:
            await bus.publish("b", event.payload, key=f"new-{event.payload}")

        @bus.subscribe("b", name="second")
        async def hear(event: Event) -> None:
            seen.append(event.payload)

        await bus.publish_many([{"name": "a", "payload": n} for n in range(5)])
        await bus.drain(20)
        assert sorted(seen) == list(range(5))
        assert sql(shared_dsn, "select count(*) from subject_keys") == [(6,)]


class TestWhoHasNoKey:
    async def test_a_handler_without_keys_fails_and_is_tried_again_once_they_are_there(
        self, bus: EventBus, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        await bus.publish("a", SECRET)
        await bus.close()
        blind = make_bus(shared_dsn)

        @blind.subscribe("**", name="all", retry=RetryPolicy(base=0.3))
        async def handle(event: Event) -> None:
            seen.append(event.payload)

        async with blind:
            await until(lambda: set(sql(shared_dsn, "select error from attempts")) == {("PayloadLocked",)})
        assert seen == []
        again = make_bus(shared_dsn, encryption=KEYS)
        collect(again, seen)
        await again.drain(15)
        assert seen == [SECRET]

    async def test_a_payload_moved_to_another_event_ends_dead_and_unread(self, bus: EventBus, shared_dsn: str) -> None:
        seen: list[Any] = []
        await bus.publish("a", "cheap", key="k")
        await bus.publish("b", "dear", key="k")
        sql(
            shared_dsn,
            "update event_log set payload = (select payload from event_log where event_name = 'b') where event_name = 'a'",
        )
        collect(bus, seen, start="beginning")
        await bus.drain(15)
        assert [one for one in seen if isinstance(one, str)] == ["dear"]  # the rest is the news of its end
        assert sql(shared_dsn, "select outcome from attempts") == [("unreadable",)]

    async def test_a_search_by_payload_finds_nothing_in_it(self, bus: EventBus, desk: Any) -> None:
        await bus.publish("a", {"n": 1})
        inspector, _ = desk(KEYS)
        page = await inspector.events(EventFilter(), payload=PayloadMatch.parse("n=1"))
        assert page.events == ()
        assert [(one.master, one.kept, one.erased) for one in await inspector.keys()] == [("first", 1, 0)]

    async def test_a_provider_that_is_away_keeps_events_out_and_says_so(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        class Away:
            current = "away"

            async def wrap(self, keys: Any) -> Any:
                raise ConnectionError("the safe is shut")

            unwrap = wrap

        bus = make_bus(shared_dsn, encryption=Away(), store_timeout=0.2)
        with pytest.raises(KeysUnavailable, match="the safe is shut"):
            await bus.publish("a", 1)

    async def test_a_payload_that_looks_encrypted_is_not_published(
        self, shared_dsn: str, make_bus: Callable[..., EventBus]
    ) -> None:
        for keys in (None, KEYS):
            bus = make_bus(shared_dsn, encryption=keys)
            for payload in ({"holdfast.encrypted": "AQ=="}, b'{"holdfast.encrypted":null}'):
                with pytest.raises(InvalidEvent, match="taken"):
                    await bus.publish("a", payload)
            await bus.publish("a", [{"holdfast.encrypted": "inside of another it is as good as any"}])

    def test_what_is_no_provider_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="MasterKeys"):
            EventBus("sqlite://", encryption=b"k" * 32)  # type: ignore[arg-type]


class TestTheSpool:
    async def test_nothing_in_it_can_be_read_and_all_of_it_arrives_encrypted(
        self,
        store: Store,  # noqa: F811 - as above
        make_bus: Callable[..., EventBus],
        tmp_path: Path,
    ) -> None:
        bus, seen = make_bus(store.dsn, encryption=KEYS, **AWAY), list[Any]()
        collect(bus, seen)
        await bus.publish("a", 0)
        store.take_away()
        assert (await bus.publish("a", SECRET, key="never seen before")).where == "spool"
        files = list((tmp_path / "state").rglob("*.spool"))
        assert files
        assert not any(SECRET.encode() in file.read_bytes() for file in files)
        store.give_back()
        await bus.drain(30)
        assert seen == [0, SECRET]
        assert SECRET not in everything(store.dsn)


@pytest.mark.usefixtures("quick")
class TestErasing:
    async def test_the_keys_are_dropped_and_what_waits_is_delivered_as_a_mask(
        self, bus: EventBus, shared_dsn: str, desk: Any
    ) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        ids = [(await bus.publish("a", SECRET, tenant_id="acme", key=key)).event_id for key in ("ann", "ben")]
        inspector, operator = desk()
        found = await operator.erase_count(tenant_id="acme", key="ann")
        assert (found.events, found.keys) == (1, 1)
        outcome = await operator.erase(tenant_id="acme", key="ann", actor="bob")
        assert (outcome.events, outcome.keys) == (1, 1)
        forget_keys(bus)
        await bus.drain(15)
        assert sorted(seen) == [SECRET, "erased"]
        open_eyes, _ = desk(KEYS)
        assert [(await open_eyes.event(one)).payload for one in ids] == [{"holdfast.erased": True}, SECRET]
        assert sql(shared_dsn, "select event_key from subject_keys where wrapped is null") == [("ann",)]
        assert [one.action for one in await inspector.audit()][:2] == ["erased", "erase"]

    async def test_a_row_that_the_masking_did_not_reach_reads_as_erased_all_the_same(
        self, bus: EventBus, shared_dsn: str, desk: Any
    ) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        event_id = (await bus.publish("a", SECRET, key="ann")).event_id
        await bus.close()
        stored = sql(shared_dsn, "select payload from event_log")[0][0]
        _, operator = desk()
        await operator.erase(key="ann", actor="bob")
        # As an old backup of the log has it, or a transaction that commits only now.
        text = stored if isinstance(stored, str) else __import__("json").dumps(stored, separators=(",", ":"))
        sql(shared_dsn, "update event_log set payload = ?", text)
        assert (await desk(KEYS)[0].event(event_id)).payload == {"holdfast.erased": True}
        await bus.drain(15)
        assert seen == ["erased"]
        assert (await bus.publish("a", "whatever", key="ann", event_id=event_id)).deduplicated

    async def test_the_subject_may_come_back_with_another_key(self, bus: EventBus, desk: Any) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        await bus.publish("a", "before", key="ann")
        await desk()[1].erase(key="ann", actor="bob")
        forget_keys(bus)
        await bus.publish("a", "after", key="ann")
        await bus.drain(15)
        assert seen == ["erased", "after"]

    async def test_a_proposal_is_not_made_again_after_an_erasure(
        self, bus: EventBus, shared_dsn: str, desk: Any
    ) -> None:
        seen: list[Any] = []
        collect(bus, seen)
        await bus.publish("warm.up", 0)
        with closing(connect(shared_dsn)) as connection:
            await bus.publish("a", 1, key="new", tx=connection)
            connection.commit()
        await desk()[1].erase(key="new", actor="bob")
        for attempt in range(2):
            forget_keys(bus)
            with closing(connect(shared_dsn)) as connection:
                try:
                    await bus.publish("a", 2, key="new", tx=connection)
                except Exception as error:
                    assert type(error).__name__ == "StoreBusy"
                    assert attempt == 0
                    connection.rollback()
                else:
                    connection.commit()
                    break
        await bus.drain(15)
        assert seen == [0, "erased", 2]

    async def test_seals_still_verify(self, bus: EventBus, desk: Any) -> None:
        for n in range(3):
            await bus.publish("a", n, key="ann" if n else None)
        inspector, operator = desk()
        await Sealer(inspector, operator, actor="me").seal()
        await operator.erase(key="ann", actor="bob")
        verifier = Verifier(inspector)
        findings = [one async for one in verifier.findings()]
        assert [one.kind for one in findings] == [Kind.ERASED] * 2


async def test_whoever_remembers_a_key_loses_nothing_that_is_published_after_the_erasure(
    bus: EventBus, shared_dsn: str, make_bus: Callable[..., EventBus], desk: Any
) -> None:
    await bus.publish("a", "before", key="ann")
    erasing_it = asyncio.create_task(desk()[1].erase(key="ann", actor="bob"))
    while not erasing_it.done():
        await bus.publish("a", "meanwhile", key="ann")
        await asyncio.sleep(0.05)
    await erasing_it
    for n in range(3):
        await bus.publish("a", n, key="ann")
    # Another one, as the publisher itself remembers the key that is gone.
    other, seen = make_bus(shared_dsn, encryption=KEYS), list[Any]()
    collect(other, seen, start="beginning")
    await other.drain(30)
    assert seen[0] == "erased"
    assert seen[-3:] == [0, 1, 2]


class TestRotation:
    async def test_old_payloads_are_read_with_the_new_master_key_alone(
        self, bus: EventBus, shared_dsn: str, make_bus: Callable[..., EventBus], desk: Any
    ) -> None:
        for n in range(5):
            await bus.publish("a", n, key=f"k{n}")
        await bus.close()
        inspector, operator = desk()
        both, second = MasterKeys({"second": b"2" * 32, "first": b"1" * 32}), MasterKeys({"second": b"2" * 32})
        none = await operator.rotate_keys(second, actor="me")
        assert (none.wrapped, none.left) == (0, 5)
        done = await operator.rotate_keys(both, actor="me")
        assert (done.wrapped, done.left) == (5, 0)
        assert [(one.master, one.kept) for one in await inspector.keys()] == [("second", 5)]
        again, seen = make_bus(shared_dsn, encryption=second), list[Any]()
        collect(again, seen, start="beginning")
        await again.drain(15)
        assert sorted(seen) == list(range(5))
        row = (await inspector.audit())[0]
        assert (row.action, row.target, row.count) == ("keys rotate", "second", 5)

    async def test_while_it_is_under_way_both_are_read(
        self, shared_dsn: str, make_bus: Callable[..., EventBus], desk: Any
    ) -> None:
        both = MasterKeys({"second": b"2" * 32, "first": b"1" * 32})
        old, new, seen = make_bus(shared_dsn, encryption=KEYS), make_bus(shared_dsn, encryption=both), list[Any]()
        collect(new, seen)
        await new.publish("warm.up", 0)
        await old.publish("a", 1, key="k1")
        await new.publish("a", 2, key="k2")
        await desk()[1].rotate_keys(both, actor="me")
        forget_keys(new)
        await new.publish("a", 3, key="k1")
        await new.drain(15)
        assert sorted(seen) == [0, 1, 2, 3]


async def test_a_page_of_many_subjects_costs_one_look_up(
    shared_dsn: str, make_bus: Callable[..., EventBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, seen = make_bus(shared_dsn, encryption=KEYS), list[Any]()
    await bus.publish_many([{"name": "a", "payload": n, "key": f"k{n}"} for n in range(300)])
    await bus.close()
    again = make_bus(shared_dsn, encryption=KEYS)
    collect(again, seen, start="beginning")
    live = await again.open()
    inner = live._encrypted._store  # type: ignore[union-attr]
    asked, ask = [], inner.find_keys

    async def count(subjects: Any, ids: Any) -> Any:
        asked.append(len(ids))
        return await ask(subjects, ids)

    monkeypatch.setattr(inner, "find_keys", count, raising=False)
    await again.drain(15)
    assert len(seen) == 300
    assert sum(asked) == 300
    assert len(asked) <= 2


async def test_many_at_once_on_one_new_subject(bus: EventBus, shared_dsn: str) -> None:
    seen: list[Any] = []
    collect(bus, seen)
    await asyncio.gather(*(bus.publish("a", n, key="new") for n in range(50)))
    await bus.drain(15)
    assert sorted(seen) == list(range(50))
    assert sql(shared_dsn, "select count(*) from subject_keys") == [(1,)]


def test_without_encryption_nothing_of_it_is_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys, holdfast.bus, holdfast.live; holdfast.bus.EventBus('sqlite://');"
        "print([name for name in sys.modules if name.startswith(('cryptography', 'holdfast.encryption'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
