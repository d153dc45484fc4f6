"""Bad input: refused before any write, with an error that names the field and the rule, alike on every store."""

from __future__ import annotations

import asyncio
import enum
import os
import pickle
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast import Delivery, Event, EventBus, Reject, Retry, RetryPolicy, SyncEventBus
from holdfast.errors import (
    ConfigurationError,
    IdConflict,
    InvalidEvent,
    InvalidInput,
    InvalidSubscription,
    PayloadTooLarge,
    SchemaMismatch,
    WrongStore,
)

from .waiting import sql, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Colour(enum.Enum):
    RED = "red"
    UNSUITABLE = object()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


NAMES = ["", " ", "a b", "a\tb", "a\n", "\n", "a%", "a'b", 'a"b', "a;b", "a\x00b", "\x00", "a..b", ".a", "a.", ".", "..",
         "x" * 201, "é", "a.é", "日本", "a\u200bb", "\ud800", "a*", "*", "**", "a.**", "a,b", "a\\b", "a@b", "a b c",
         None, 5, b"a", ["a"], object()]  # fmt: skip
TEXTS = ["", "x" * 256, "a\x00b", "\x00", "\ud800", "a\udfff", 5, b"a", ["a"], True]
IDS = ["", "x", "0" * 31, "0" * 33, "g" * 32, str(UUID(int=0)), UUID(int=0), 5, b"\x00" * 16, True, [],
       "{019b0000-0000-7000-8000-000000000001}", "urn:uuid:019b0000-0000-7000-8000-000000000001",
       " 019b0000-0000-7000-8000-000000000001", "019b0000-0000-7000-8000-000000000001\n"]  # fmt: skip
TIMES = [datetime(2020, 1, 1), datetime.min, 5, 5.0, "yesterday", "2020-01-01T00:00:00", "", b"", [],  # noqa: DTZ001, DTZ901
         datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
         datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-12)))]  # fmt: skip
HEADERS = [5, "x", ["x"], {"": "v"}, {"x" * 201: "v"}, {"x": "v" * 4097}, {"x": 5}, {"x": None}, {5: "x"},
           {"x": "\x00"}, {"x": "\ud800"}, {"\x00": "x"}, {"x": {"y": "z"}}, {f"h{n}": "x" for n in range(65)}]  # fmt: skip
PAYLOADS = [
    ("payload", {1, 2}),
    ("payload", object()),
    ("payload", float("nan")),
    ("payload", float("inf")),
    ("payload.x", {"x": float("-inf")}),
    ("payload.items[3].price", {"items": [1, 2, 3, {"price": float("nan")}]}),
    ("payload.x", {"x": {1}}),
    ("payload.x", {"x": b"bytes"}),
    ("payload[1]", [1, lambda: None]),
    ("payload", 2**63),
    ("payload", -(2**63) - 1),
    ("payload.big[0]", {"big": [2**64]}),
    ("payload", 10**5000),
    ("payload", "a\x00b"),
    ("payload.x", {"x": "\x00"}),
    ("payload", "\ud800"),
    ("payload.a[0]", {"a": ["\udc00x"]}),
    ("payload", {1: "x"}),
    ("payload.x", {"x": {None: 1}}),
    ("payload", {("a", "b"): 1}),
    ("payload.x", {"x": Colour.UNSUITABLE}),
    ("payload.x", {"x": Decimal("NaN")}),
    ("payload.x", {"x": Decimal("Infinity")}),
    ("payload.at", {"at": datetime(2020, 1, 1)}),  # noqa: DTZ001
    ("payload.x", {"x": 1 + 2j}),
    ("payload.x", {"x": range(3)}),
    ("payload.x", {"x": ValueError("x")}),
    ("payload.x", {"x": timedelta(1)}),
    ("payload", b"not json"),
    ("payload", b"\xff\xfe"),
    ("payload", b""),
    ("payload.a", b'{"a": 1, "a": 2}'),
    ("payload.a", b'{"a": NaN}'),
    ("payload.a", b'{"a": 1e999}'),
    ("payload.a", b'{"a": 18446744073709551616}'),
    ("payload.a", b'{"a": "\\u0000"}'),
    ("payload.a", b'{"a": "\\ud800"}'),
    ("payload", b"1 2"),
]


@pytest.fixture(params=["sqlite", "postgresql"])
async def full(request: pytest.FixtureRequest, make_bus: Callable[..., EventBus]) -> tuple[EventBus, str]:
    """A bus that has published once: what is refused from now on must leave nothing behind."""
    dsn = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "emptied_dsn")
    bus = make_bus(dsn)
    await bus.publish("warm.up")
    return bus, dsn


async def refused(bus: EventBus, dsn: str, field: str, values: list[Any], **common: Any) -> None:
    for value in values:
        content = {"name": "a", "payload": 1, **common, field: value}
        with pytest.raises(InvalidEvent) as found:
            await bus.publish(**content)
        assert found.value.field.startswith(field), ascii(value)[:100]
        assert isinstance(found.value, ValueError)
        assert len(str(found.value)) < 600
        str(found.value).encode()  # what goes to a log must be text that can be written
        assert str(pickle.loads(pickle.dumps(found.value))) == str(found.value)
        with pytest.raises(InvalidEvent) as found:
            await bus.publish_many([{"name": "fine", "payload": 1}, content])
        assert (found.value.index, found.value.field.startswith(field)) == (1, True)
    assert stored(dsn) == ["warm.up"]


async def test_event_names(full: Any) -> None:
    await refused(*full, "name", NAMES)


async def test_tenants(full: Any) -> None:
    await refused(*full, "tenant_id", TEXTS)


async def test_keys(full: Any) -> None:
    await refused(*full, "key", TEXTS)


async def test_ids(full: Any) -> None:
    await refused(*full, "event_id", IDS)


async def test_times(full: Any) -> None:
    await refused(*full, "occurred_at", TIMES)


async def test_headers(full: Any) -> None:
    await refused(*full, "headers", HEADERS)


async def test_payloads(full: Any) -> None:
    bus, dsn = full
    for field, payload in PAYLOADS:
        with pytest.raises(InvalidEvent) as found:
            await bus.publish("a", payload)
        assert found.value.field == field, ascii(payload) if payload != 10**5000 else "huge"
        assert str(found.value).isprintable()
    assert stored(dsn) == ["warm.up"]


async def test_depth_and_self_containment(full: Any) -> None:
    bus, dsn = full
    for payload in (nested(65), nested(5000), {"a": nested(64)}, endless(), b"[" * 65 + b"]" * 65, b"[" * 100_000):
        with pytest.raises(InvalidEvent, match=r"nested deeper than 64|not JSON"):
            await bus.publish("a", payload)
    await bus.publish("deep", nested(64))
    assert stored(dsn) == ["warm.up", "deep"]


async def test_size(full: Any) -> None:
    bus, dsn = full
    for payload in ("x" * (2**20 - 1), {"x": "é" * 2**20}, b'"' + b"x" * 2**20 + b'"'):
        with pytest.raises(PayloadTooLarge) as found:
            await bus.publish("a", payload)
        assert found.value.limit == 2**20
        assert found.value.size > 2**20
        assert str(found.value.size) in str(found.value)
    await bus.publish("big", "x" * (2**20 - 2))
    assert stored(dsn) == ["warm.up", "big"]


async def test_no_payload_shows_in_an_error(full: Any) -> None:
    bus, _ = full
    for payload in ({"password": {"hunter2"}}, {"x": "hunter2\x00"}, b'{"x": hunter2}', {"a": ["hunter2", {1}]}):
        with pytest.raises(InvalidEvent) as found:
            await bus.publish("a", payload)
        assert "hunter2" not in str(found.value) + repr(found.value)
    event_id = uuid4()
    await bus.publish("a", "hunter2", event_id=event_id)
    with pytest.raises(IdConflict) as conflict:
        await bus.publish("a", "hunter3", event_id=event_id)
    assert "hunter" not in str(conflict.value)


# ---- what is good, and must come back exactly

GOOD = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 0.1, 1e308, -0.0, 5e-324, "", "é", "😀", "\x01\x1f\x7f", "\\", '"', "'",
    "%s %(x)s :x $1 ?", "; drop table event_log; --", "\ufeff", "\uffff", "\u2028", "a" * 100_000, [], {}, [[]], {"": 1}, {"a.b": {"": [None]}},
    {"é": "ü", "constructor": 1, "__proto__": 2}, list(range(1000)), {"x": {"y": {"z": [1, 2.5, "3", None, True]}}},
]  # fmt: skip


async def test_good_payloads_come_back_exactly(bus: EventBus) -> None:
    seen: list[Any] = []
    bus.subscribe("a", lambda event: seen.append(event.payload), name="h", partitions=1, concurrency=1)
    for payload in GOOD:
        await bus.publish("a", payload)
    await bus.publish_many([{"name": "a", "payload": payload} for payload in GOOD])
    await bus.drain(20)
    assert repr(seen) == repr(GOOD + GOOD)


async def test_types_become_strings_as_documented(bus: EventBus) -> None:
    seen: list[Any] = []
    bus.subscribe("a", lambda event: seen.append(event.payload), name="h")
    moment = datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    one = uuid4()
    await bus.publish("a", {
        "at": moment, "on": moment.date(), "id": one, "sum": Decimal("1.10"), "colour": Colour.RED, "pair": (1, 2),
    })  # fmt: skip
    await bus.publish("a", b' { "kept" : 1.0 } ')
    await bus.drain(10)
    assert {"at": "2020-01-02T03:04:05.000006+00:00", "on": "2020-01-02", "id": str(one), "sum": "1.10",
            "colour": "red", "pair": [1, 2]} in seen  # fmt: skip
    assert {"kept": 1.0} in seen


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(2000, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2020, 6, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
    ids=str,
)  # fmt: skip
async def test_times_are_kept_exactly(bus: EventBus, moment: datetime) -> None:
    seen: list[datetime] = []
    bus.subscribe("a", lambda event: seen.append(event.occurred_at), name="h")
    await bus.publish("a", occurred_at=moment)
    await bus.publish_many([{"name": "a", "payload": None, "occurred_at": moment.isoformat()}] * 2)
    await bus.drain(10)
    assert seen == [moment] * 3
    assert {one.utcoffset() for one in seen} == {timedelta(0)}


async def test_names_tenants_and_keys_at_their_bounds(bus: EventBus) -> None:
    seen: list[Event] = []
    bus.subscribe("**", seen.append, name="h", partitions=1, concurrency=1)
    names = ["x" * 200, "A-z_0:/9", ".".join("a" * 100), "-", "0", "select", "a.b.c"]
    texts = ["x" * 255, "é" * 255, "😀" * 255, " ", "a b\n", "'; drop table x; --", "%s", "*", "default"]
    for name in names:
        await bus.publish(name)
    for text in texts:
        await bus.publish("a", tenant_id=text, key=text)
    await bus.drain(10)
    assert [event.name for event in seen[: len(names)]] == names
    assert [(event.tenant_id, event.key) for event in seen[len(names) :]] == [(text, text) for text in texts]


class Shouting(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "WRONG"


async def test_subclasses_of_strings_are_the_strings_they_are(bus: EventBus) -> None:
    seen: list[Event] = []
    bus.subscribe("a", seen.append, name=Shouting("h"))
    await bus.publish(Shouting("a"), {Shouting("k"): Shouting("v")}, tenant_id=Shouting("t"), key=Shouting("x"))
    await bus.drain(10)
    (event,) = seen
    assert (event.name, event.payload, event.tenant_id, event.key) == ("a", {"k": "v"}, "t", "x")


# ---- the bus, and what handlers say

NAN, HUGE = float("nan"), 10**5000


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("lease_ttl", [0, 0.9, -1, 3601, NAN, float("inf"), HUGE, True, "30", None]),
        ("poll_interval", [0, -1, 61, NAN, HUGE, True, "1", None]),
        ("store_timeout", [0, -1, 3601, NAN, HUGE, True, "1", None]),
        ("stop_timeout", [-1, 86_401, NAN, HUGE, True, "1", None]),
        ("max_payload", [0, -1, 2**31, NAN, HUGE, True, "1", None]),
        ("spool_limit", [0, -1, 2**60, NAN, HUGE, True, "1", None]),
        ("retention", [0, -1, 30, "30 days", timedelta(0), timedelta(-1), timedelta(seconds=59)]),
        ("require_tx", ["", "maybe", None, 5, ["strict"]]),
        ("require_tenant", ["yes", 1, None]),
        ("schema", ["", "a b", "a;b", 'a"b', "x" * 64, 5, None, "a\x00"]),
    ],
)
def test_options_of_the_bus_are_checked_by_name(option: str, values: list[Any]) -> None:
    for value in values:
        for make in (EventBus, SyncEventBus):
            with pytest.raises(ConfigurationError, match=option) as found:
                make("sqlite://", **{option: value})
            assert len(str(found.value)) < 500


@pytest.mark.parametrize(
    "dsn", ["mysql://localhost/x", "nonsense", "postgresql+asyncpg://x/y", "sqlite:/x", "sqlite://host/x", "file.db", "http://x", "://", 5, b"sqlite://"], ids=str
)  # fmt: skip
async def test_an_unknown_dsn_is_a_configuration_error(
    dsn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError):
        await EventBus(dsn, spool="off").publish("a")
    assert os.listdir(tmp_path) == []


def test_retry_refuses_times_that_are_none() -> None:
    for after in (-1, NAN, float("inf"), 31_536_001, HUGE, "5", [], b""):
        with pytest.raises(InvalidInput) as found:
            Retry(after=after)  # type: ignore[arg-type]
        assert found.value.field == "Retry.after"


@pytest.mark.parametrize("reason", [5, None, "\x00", "\ud800", "x" * 100_000, b"\xff"], ids=lambda one: ascii(one)[:20])
async def test_any_reason_of_a_reject_can_be_recorded(bus: EventBus, reason: Any) -> None:
    dead: list[Event] = []
    bus.subscribe("holdfast.delivery.dead", dead.append, name="letters")

    @bus.subscribe("a", name="h", retry=RetryPolicy(base=0.01))
    async def handle(event: Event) -> None:
        raise Reject(reason)

    await bus.publish("a")
    await bus.drain(10)
    assert dead[0].payload["attempts"] == 1
    assert len(dead[0].payload["error"]) <= 2000


def test_handlers_that_are_none() -> None:
    bus = EventBus("sqlite://")
    for handler in (5, "handler", object(), [], {}):
        with pytest.raises(InvalidSubscription, match="handler"):
            bus.subscribe("a", handler, name="h")  # type: ignore[call-overload]
    with pytest.raises(InvalidSubscription, match="handler"):
        bus.subscribe("a", name="h")(None)  # type: ignore[type-var]


# ---- the store


async def test_a_subscription_whose_handler_is_gone_keeps_its_events(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    """Renamed while events wait: kept and visible, not dropped."""
    first = make_bus(shared_dsn)
    first.subscribe("a", lambda event: None, name="old")
    await first.publish("a")
    second = make_bus(shared_dsn)
    second.subscribe("a", lambda event: None, name="new")
    await second.publish("b")
    await second.drain(10)
    assert sql(shared_dsn, "select status from event_store where event_name = 'a'") == [("pending",)]
    seen: list[Event] = []
    third = make_bus(shared_dsn)
    third.subscribe("a", seen.append, name="old")
    await third.drain(10)
    assert len(seen) == 1


async def test_no_tables_says_what_to_run(postgres_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(postgres_dsn, auto_migrate=False)
    with pytest.raises(SchemaMismatch, match="holdfast migrate"):
        await bus.publish("a")
    with pytest.raises(SchemaMismatch, match="holdfast migrate"):
        async with bus:
            raise AssertionError("not reached")


async def test_a_wrong_password_or_database_is_a_configuration_error(
    postgres_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus = make_bus(f"{postgres_dsn}_that_is_not_there")
    with pytest.raises(ConfigurationError, match="not_there"):
        await bus.publish("a")


async def test_files_that_are_no_store(make_bus: Callable[..., EventBus], tmp_path: Path) -> None:
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("this is not a database, and long enough to be seen as none" * 50)
    with pytest.raises(WrongStore):
        await make_bus(f"sqlite:///{text}").publish("a")
    assert text.read_text().startswith("this is not")
    for path in (tmp_path, tmp_path / "missing" / "x.db"):
        with pytest.raises(ConfigurationError):
            await make_bus(f"sqlite:///{path}").publish("a")
    # A database of somebody else gets our tables beside its own, as PostgreSQL does.
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("create table mine (x)")
    assert (await make_bus(f"sqlite:///{other}").publish("a")).where == "store"


PLAIN_INSERTS = [
    ("event_name", ["", "a b", "a..b", ".a", "a.", "x" * 201, "a;b", "a%", "é"]),
    ("tenant_id", ["", "x" * 256]),
    ("event_key", ["", "x" * 256]),
    ("payload", ["", "{", "nonsense", "{'a': 1}"]),
    ("headers", ["", "{", "nonsense"]),
    ("id", ["", "x", "00000000-0000-0000-0000-000000000000"]),
]


@pytest.mark.parametrize(("column", "values"), PLAIN_INSERTS, ids=[column for column, _ in PLAIN_INSERTS])
async def test_plain_inserts_of_bad_values_are_refused_by_the_tables(full: Any, column: str, values: list[str]) -> None:
    _, dsn = full
    for value in values:
        row = {"tenant_id": "t", "event_name": "a", "payload": "null", column: value}
        names, marks = ", ".join(row), ", ".join("?" for _ in row)
        with pytest.raises((sqlite3.Error, psycopg.Error)):
            sql(dsn, f"insert into event_store ({names}) values ({marks})", *row.values())
    assert stored(dsn) == ["warm.up"]


async def test_a_plain_insert_of_what_only_one_language_can_say_reaches_the_handler_or_ends_dead(full: Any) -> None:
    """Numbers beyond 64 bits, NUL, repeated keys, headers that are no object: JSON, but not ours."""
    bus, dsn = full
    handled: list[str] = []
    dead: list[Event] = []

    @bus.subscribe("a.*", name="h", retry=RetryPolicy(max_attempts=2, base=0.01), breaker=None)
    async def handle(event: Event) -> None:
        assert event.headers is not None
        assert event.correlation_id
        if isinstance(event.payload, dict):
            assert event.payload
        handled.append(event.name)

    bus.subscribe("holdfast.delivery.dead", dead.append, name="letters")
    await bus.drain(5)
    strange = [
        '{"a": 18446744073709551616}',
        '{"a": 1e999}',
        '{"a": "\\u0000"}',
        '{"a": 1, "a": 2}',
        "1",
        '"x"',
        "null",
    ]
    accepted = 0
    for n, payload in enumerate(strange):
        try:
            sql(dsn, "insert into event_store (tenant_id, event_name, payload, headers) values ('t', ?, ?, ?)",
                f"a.n{n}", payload, '["not", "an", "object"]')  # fmt: skip
            accepted += 1
        except (sqlite3.Error, psycopg.Error):
            continue
    sql(dsn, "insert into event_store (tenant_id, event_name, payload) values ('t', 'a.last', 'null')")
    await bus.drain(15)
    assert "a.last" in handled
    assert len(handled) + len(dead) == accepted + 1


# ---- what a new user does at first


def test_subscribe_without_parentheses_says_what_to_write() -> None:
    bus: Any = EventBus("sqlite://")
    with pytest.raises(InvalidSubscription, match="is a function; write @bus.subscribe"):

        @bus.subscribe
        def handle(event: Event) -> None: ...


def test_the_same_function_with_other_options_is_refused() -> None:
    bus = EventBus("sqlite://")

    def handle(event: Event) -> None: ...

    bus.subscribe("a", handle, name="h", concurrency=3, retry=RetryPolicy(max_attempts=2))
    bus.subscribe("b", handle, name="h")
    bus.subscribe("c", handle, name="h", concurrency=3, retry=RetryPolicy(max_attempts=2))
    for options in ({"concurrency": 4}, {"retry": RetryPolicy(max_attempts=3)}, {"timeout": 1}, {"on_dead": "hold"}):
        with pytest.raises(InvalidSubscription, match="and was"):
            bus.subscribe("d", handle, name="h", **options)
    assert bus.consumers[0].patterns == ("a", "b", "c")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("auto_migrate", "no"), ("auto_migrate", 3), ("spool", 3), ("spool", b"x"), ("spool", ""), ("max_payload", 1.5),
        ("spool_limit", 5000.5), ("dsn", "mysql://localhost/x"), ("dsn", "garbage"), ("dsn", "postgresql:/x"),
    ],
)  # fmt: skip
def test_options_are_checked_when_a_bus_is_made(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option if option != "dsn" else "DSN"):
        EventBus(**{"dsn": "sqlite://", option: value})


@pytest.mark.parametrize("items", [None, 3, "text", b"bytes", {"name": "a", "payload": 1}])
async def test_publish_many_takes_a_list(items: Any) -> None:
    with pytest.raises(InvalidEvent, match="items"):
        await EventBus("sqlite://").publish_many(items)


@pytest.mark.parametrize("timeout", ["x", float("nan"), -1, float("inf")])
async def test_drain_takes_seconds(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        await EventBus("sqlite://").drain(timeout)


async def test_a_handler_cannot_close_the_store_in_memory(make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus("sqlite://")

    @bus.subscribe("a", name="h", transactional=True, retry=RetryPolicy(max_attempts=1))
    async def handle(event: Event, delivery: Delivery) -> None:
        delivery.connection.close()

    seen: list[Event] = []
    bus.subscribe("b", seen.append, name="b")
    async with bus:
        await bus.publish("a")
        await bus.publish("b")
        await bus.drain(10)
    assert len(seen) == 1


def test_a_view_of_facts_changes_none(own_dsn: str) -> None:
    if own_dsn.startswith("sqlite"):
        asyncio.run(EventBus(own_dsn, spool="off").publish("a"))
    else:
        sql(own_dsn, "insert into event_store (tenant_id, event_name, payload) values ('t', 'a', '1')")
    for statement in ("update event_store set payload = '2'", "delete from event_store"):
        with pytest.raises((psycopg.Error, sqlite3.Error)):
            sql(own_dsn, statement)
    assert sql(own_dsn, "select count(*) from event_store") == [(1,)]


@pytest.mark.parametrize("time", ["infinity", "-infinity", "0044-03-15 BC", "294000-01-01"])
def test_a_time_outside_of_our_era_is_refused_by_the_table(emptied_dsn: str, time: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="our_era"):
        sql(emptied_dsn, "insert into event_store (tenant_id, event_name, payload, occurred_at) "
            f"values ('t', 'a', '1', '{time}')")  # fmt: skip


async def test_a_port_that_is_none_is_no_outage(tmp_path: Path) -> None:
    bus = EventBus("postgresql://localhost:abc/shop", spool=tmp_path / "spool")
    with pytest.raises(ConfigurationError, match="a port that is not a number"):
        await bus.publish("order.placed", 1)
    await bus.close()
    assert list(tmp_path.iterdir()) == []
