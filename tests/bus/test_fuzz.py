"""Random input, good and hostile: both stores say and keep the same, and what they keep is what was given.

Each property is stated against a reference of its own, written as plainly as the rule reads.
"""

from __future__ import annotations

import asyncio
import json
import string
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import EventBus
from holdfast.cli import main
from holdfast.errors import InvalidEvent, InvalidInput, InvalidSubscription
from holdfast.names import check_name
from holdfast.patterns import check_pattern, matches, to_regex
from holdfast.spool import Spool
from holdfast.spool_format import encode, encode_header
from tests.unit.spool_harness import UnsyncedSystem, event, events_of, is_subsequence

from .waiting import sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# A fixture that lives as long as the test: the stores are shared by its examples, which tell their events apart by id.
shared = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

ALLOWED = set(string.ascii_letters + string.digits + "_:/-")


def is_name(text: str) -> bool:
    """The rule for names, word for word."""
    return len(text) <= 200 and all(segment and set(segment) <= ALLOWED for segment in text.split("."))


def is_pattern(text: str) -> bool:
    *others, last = text.split(".")
    plain = [*("x" if one == "*" else one for one in others), "x" if last in {"*", "**"} else last]
    return len(text) <= 200 and is_name(".".join(plain))


def fits(pattern: list[str], name: list[str]) -> bool:
    """What a pattern means, segment by segment."""
    match pattern:
        case []:
            return not name
        case ["**"]:
            return bool(name)
        case [first, *rest]:
            return bool(name) and first in {"*", name[0]} and fits(rest, name[1:])
    raise AssertionError(pattern)


# ---- what is drawn

anything = st.text(st.characters(), max_size=12)  # lone surrogates and U+0000 included
hostile = anything | st.sampled_from(
    ["'; drop table event_log; --", "%s", "%(x)s", ":name", "?", "$1", "\\", "\x1b[2J", "\u202e", "{}", "a" * 300, "", " ",
     "\ud800", "\x00", "é" * 128, "null", "\ufeff", "--", "/*", '"', "a\nb", "😀" * 200, "1e999", "__proto__"]
)  # fmt: skip
near_names = st.text("ab.*-:/_ %\n'é", max_size=10) | st.lists(st.sampled_from(["a", "b1", "*", "**", "", "x" * 70]), max_size=4).map(".".join)  # fmt: skip
names = near_names | hostile
leaves = (
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | hostile | st.binary(max_size=3)
    | st.datetimes(timezones=st.none() | st.just(UTC))
)  # fmt: skip
payloads = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile | st.integers(), inner, max_size=3), max_leaves=8
)  # fmt: skip
moments = st.datetimes(
    timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))])
)
items = st.fixed_dictionaries(
    {"name": st.just("a.b") | names, "payload": payloads | st.just({"ok": 1})},
    optional={"tenant_id": hostile, "key": st.none() | hostile, "headers": st.none() | st.dictionaries(hostile, hostile, max_size=2),
              "occurred_at": moments | st.text("0123456789-:TZ+.", max_size=20)},
)  # fmt: skip


def storable(value: Any) -> Any:
    """What a payload comes back as, by the table in the documentation; raises where it must be refused."""
    match value:
        case None | bool():
            return value
        case int() if -(2**63) <= value < 2**63:
            return value
        case float() if value - value == 0:
            return value
        case str() if "\0" not in value:
            value.encode()
            return value
        case datetime() if value.tzinfo is not None:
            return value.isoformat()
        case list():
            return [storable(one) for one in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {storable(key): storable(one) for key, one in value.items()}
    raise ValueError("refused")


def expected(item: dict[str, Any]) -> tuple[Any, ...] | None:
    """Name, tenant, key, payload and headers as every store must keep them; None where the event must be refused."""
    name, tenant, key = item["name"], item.get("tenant_id", "default"), item.get("key")
    headers, moment = item.get("headers"), item.get("occurred_at")
    try:
        if not is_name(name) or not all(0 < len(storable(text)) <= 255 for text in (tenant, key) if text is not None):
            return None
        for header in headers or {}:
            if not 0 < len(storable(header)) <= 200 or len(storable(headers[header])) > 4096:
                return None
        if moment is not None:
            moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
            if moment.tzinfo is None:
                return None
            moment.astimezone(UTC)
        return name, tenant, key, repr(storable(item["payload"])), headers or None
    except (ValueError, OverflowError):  # a UnicodeError is a ValueError
        return None


# ---- publishing


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def both(runner: asyncio.Runner, sqlite_dsn: str, emptied_dsn: str) -> Iterator[dict[str, EventBus]]:
    """A bus on each store, by DSN."""
    buses = {dsn: EventBus(dsn, spool="off", auto_migrate=True) for dsn in (sqlite_dsn, emptied_dsn)}
    for bus in buses.values():
        runner.run(bus.publish("warm.up"))
    yield buses
    for bus in buses.values():
        runner.run(bus.close())


def outcome(runner: asyncio.Runner, bus: EventBus, item: dict[str, Any], event_id: UUID) -> tuple[str, str] | None:
    """How a publish was refused, or None."""
    try:
        runner.run(bus.publish(**item, event_id=event_id))
    except InvalidEvent as error:
        str(error).encode()
        assert len(str(error)) < 1000
        return error.field, error.problem
    return None


def kept(dsn: str, event_id: UUID) -> tuple[Any, ...]:
    ((name, tenant, key, payload, headers),) = sql(
        dsn, "select event_name, tenant_id, event_key, cast(payload as text), cast(headers as text) from event_log "
        f"where id = '{event_id}'"
    )  # fmt: skip
    return name, tenant, key, repr(json.loads(payload)), None if headers is None else json.loads(headers)


def test_both_stores_take_refuse_and_keep_the_same(runner: asyncio.Runner, both: dict[str, EventBus]) -> None:
    taken = {True: 0, False: 0}

    @shared
    @given(st.lists(items, min_size=1, max_size=4))
    def check(many: list[dict[str, Any]]) -> None:
        for item in many:
            event_id, wanted = uuid4(), expected(item)
            taken[wanted is not None] += 1
            said = {outcome(runner, bus, item, event_id) for bus in both.values()}
            assert len(said) == 1, "the stores differ"
            assert (said == {None}) == (wanted is not None), said
            if wanted is not None:
                assert [kept(dsn, event_id) for dsn in both] == [wanted, wanted]

    check()
    assert min(taken.values()) > 5, "one side was hardly tried"


def test_plain_inserts_of_anything_are_refused_or_settled(runner: asyncio.Runner, both: dict[str, EventBus]) -> None:
    """The tables' own rules: names as ours, alike on both stores; and whatever they let in ends handled or dead."""
    for bus in both.values():
        bus.subscribe("**", lambda event: (event.payload, event.headers), name="h", breaker=None)

    # One or two fields at a time, or nearly every row would be refused for another reason.
    good = {"name": "a.b", "tenant": "t", "key": None, "payload": "{}"}
    strange = st.fixed_dictionaries({}, optional={"name": names, "tenant": hostile, "key": hostile, "payload": hostile})
    texts = st.lists(
        strange.map(lambda some: tuple({**good, **dict(list(some.items())[:2])}.values())), min_size=1, max_size=6
    )

    @settings(shared, max_examples=40)
    @given(texts)
    def check(rows: list[tuple[Any, ...]]) -> None:
        for name, tenant, key, payload in rows:
            taken = {dsn: inserted(dsn, name, tenant, key, payload) for dsn in both}
            if any(taken.values()):
                assert is_name(name)
                assert 1 <= len(tenant) <= 255
                assert key is None or 1 <= len(key) <= 255
            if "\0" not in f"{tenant}{key}{payload}":
                assert len(set(taken.values())) == 1, (taken, name, tenant, key, payload)

    check()
    for dsn, bus in both.items():
        runner.run(bus.drain(20))
        unsettled = "select count(*) from event_store where status not in ('processed', 'dead')"
        assert sql(dsn, unsettled) == [(0,)]


def inserted(dsn: str, *row: Any) -> bool:
    try:
        sql(dsn, "insert into event_store (event_name, tenant_id, event_key, payload) values (?, ?, ?, ?)", *row)
    except Exception as error:  # a driver's, for the row or for text that it cannot send
        assert type(error).__module__.startswith(("psycopg", "sqlite3", "builtins")), error
        return False
    return True


# ---- names and patterns


@given(names)
def test_names_are_what_the_rule_says(name: str) -> None:
    try:
        assert check_name(name) == name
    except InvalidInput:
        assert not is_name(name)
    else:
        assert is_name(name)


@given(names)
def test_patterns_are_what_the_rule_says(pattern: str) -> None:
    try:
        assert check_pattern(pattern) == pattern
    except InvalidSubscription:
        assert not is_pattern(pattern)
    else:
        assert is_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["*." * 1000, "**" * 500, ".".join(["*"] * 1000), "(a+)+$", "^a", "[a-z]*", "a|b", ".*"]
)
def test_wildcards_by_the_thousand_and_regex_text_are_no_patterns(pattern: str) -> None:
    with pytest.raises(InvalidSubscription):
        check_pattern(pattern)


def test_patterns_mean_the_same_in_postgresql(emptied_dsn: str) -> None:
    segments = st.sampled_from(["a", "b", "A", "a-b", ":/_", "x" * 60])
    some_names = st.lists(segments, min_size=1, max_size=4).map(".".join)
    some = st.tuples(st.lists(segments | st.just("*"), max_size=3), segments | st.sampled_from(["*", "**"]))
    pairs = st.lists(st.tuples(some.map(lambda one: ".".join([*one[0], one[1]])), some_names), min_size=1, max_size=30)

    with psycopg.connect(emptied_dsn) as connection:

        @settings(max_examples=40)
        @given(pairs)
        def check(drawn: list[tuple[str, str]]) -> None:
            drawn = [(pattern, name) for pattern, name in drawn if is_pattern(pattern) and is_name(name)]
            wanted = [fits(pattern.split("."), name.split(".")) for pattern, name in drawn]
            assert [matches(pattern, name) for pattern, name in drawn] == wanted
            found = connection.execute(
                "select name ~ regex from unnest(%s::text[], %s::text[]) with ordinality as u (regex, name, n) order by n",
                [[to_regex(pattern) for pattern, _ in drawn], [name for _, name in drawn]],
            ).fetchall()
            assert [one for (one,) in found] == wanted

        check()


# ---- files


def test_whatever_stands_in_a_file_its_good_beginning_is_stored_and_the_first_bad_line_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    good = st.builds(lambda n: json.dumps({"name": f"a.n{n}", "payload": {"n": n}}).encode(), st.integers(0, 99))
    blank = st.sampled_from([b"", b" ", b"\t\r"])
    torn = st.builds(lambda line, at: line[: at % len(line)], good, st.integers(1))
    flipped = st.builds(
        lambda line, at, byte: line[: at % len(line)] + bytes([byte]) + line[at % len(line) + 1 :],
        good, st.integers(0), st.integers(0, 255),
    )  # fmt: skip
    other = st.binary(max_size=20) | items.map(lambda one: json.dumps(one, default=str).encode())
    line = st.one_of(good, good, blank, torn, flipped, other).filter(lambda one: b"\n" not in one)
    number = iter(range(10**6))

    @settings(max_examples=40)
    @given(st.lists(line, max_size=8), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
    def check(lines: list[bytes], end: bytes, ends: bool) -> None:
        dsn = f"sqlite:///{tmp_path / f'{next(number)}.db'}"
        result = CliRunner().invoke(main, ["publish", "--jsonl", "-", "--dsn", dsn], input=end.join(lines) + end * ends)
        wanted = list[str]()
        bad = None
        for place, text in enumerate(lines, 1):
            if text.strip():
                found = read(text)
                if found is None:
                    bad = place
                    break
                wanted.append(found)
        stored = [name for (name,) in sql(dsn, "select event_name from event_log order by position")] if wanted else []
        assert stored == wanted
        assert result.exit_code == (0 if bad is None else 2), result.output
        assert f"{len(wanted)} event{'' if len(wanted) == 1 else 's'} " in result.output
        if bad is not None:
            assert f"holdfast: line {bad}" in result.stderr
            assert result.stderr.count("\n") == 1

    check()


def read(text: bytes) -> str | None:
    """The name of the event that a line stands for, None where the line must be refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    try:
        item = json.loads(text.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    fields = {"name", "payload", "tenant_id", "key", "headers", "occurred_at"}
    if (
        not isinstance(item, dict)
        or not {"name", "payload"} <= set(item) <= fields
        or not isinstance(item["name"], str)
    ):
        return None
    return item["name"] if expected(item) is not None else None


EVENTS = [event(n, key=f"k{n % 2}") for n in range(1, 7)]
INTACT = encode_header() + b"".join(encode(one) for one in EVENTS)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(INTACT)), st.integers(0, 3), st.binary(max_size=8)), min_size=1, max_size=6
    ),
    length=st.integers(0, len(INTACT)) | st.just(len(INTACT)),
)
def test_bytes_of_a_spool_file_changed_anywhere_invent_no_event_and_change_none(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, bytes]], length: int
) -> None:
    """Flipped, cut out, put in, cut short: what comes out was put in, whole and in order."""
    content = INTACT
    for place, cut, put in edits:
        content = content[:place] + put + content[place + cut :]
    folder = tmp_path_factory.mktemp("spool")
    (folder / "00000001.spool").write_bytes(content[:length])
    spool = Spool(folder, system=UnsyncedSystem())
    spool.open()
    try:
        assert is_subsequence(events_of(spool), EVENTS)
        assert spool.depth == len(events_of(spool))
    finally:
        spool.close()
