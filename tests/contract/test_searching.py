"""Finding events, the same on both stores: by whatever way, with and without a search index."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast.errors import BusStateError, InvalidInput, NotFound
from holdfast.stores import searching
from holdfast.stores.filters import EventFilter, PayloadMatch
from holdfast.stores.values import Parked, Settlement, State
from tests.contract.harness import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.stores.records import EventPage
    from tests.contract.desk import Desk

INDEXES = ("causation", "correlation", "key", "name", "tenant", "time")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call looks at 20 events."""
    monkeypatch.setattr(searching, "LOOKED_MAX", 20)
    monkeypatch.setattr(searching, "_PAGE", 10)


def ids(page: EventPage) -> list[UUID]:
    return [event.id for event in page.events]


async def walked(desk: Desk, limit: int, **asked: Any) -> list[UUID]:
    """All that is found, page by page."""
    found: list[UUID] = []
    before = None
    while True:
        page = await desk.inspector.events(asked["filter"], **asked["more"], limit=limit, before=before)
        found += ids(page)
        if (before := page.next_before) is None:
            return found


class TestTheWay:
    @pytest.mark.parametrize(
        ("index", "filter", "more"),
        [
            ("key", {"key": "k"}, {}),
            ("tenant", {"tenant_id": "rare"}, {}),
            ("name", {"name": "cart.opened"}, {}),
            ("time", {"since": NOON, "until": NOON + timedelta(hours=1)}, {}),
            ("correlation", {}, {"correlation_id": "c-1"}),
        ],
    )
    async def test_an_index_finds_what_the_log_finds_and_is_named_where_it_is_missing(
        self, desk: Desk, short_looks: None, index: str, filter: dict[str, Any], more: dict[str, Any]
    ) -> None:
        rare = {"tenant": "rare", "key": "k", "at": NOON, "headers": b'{"correlation_id": "c-1"}'}
        wanted = [(await desk.publish("cart.opened", **rare))[0] for _ in range(3)]
        await desk.publish(n=30)
        asked = EventFilter(**filter)
        by_log = await desk.inspector.events(asked, **more)
        assert (by_log.found_by, by_log.looked, by_log.would_help, by_log.events) == ("log", 20, index, ())
        assert by_log.next_before is not None
        assert await walked(desk, 2, filter=asked, more=more) == wanted[::-1]
        assert await desk.operator.add_index(index, actor="me")
        by_index = await desk.inspector.events(asked, **more)
        assert ids(by_index) == wanted[::-1]
        assert (by_index.found_by, by_index.looked, by_index.would_help) == (index, 3, None)
        assert by_index.next_before is None
        assert await walked(desk, 2, filter=asked, more=more) == wanted[::-1]

    async def test_an_id_needs_no_index(self, desk: Desk) -> None:
        (wanted, *_) = await desk.publish(n=5)
        page = await desk.inspector.events(EventFilter(event_id=wanted))
        assert (ids(page), page.found_by, page.looked) == ([wanted], "id", 1)

    async def test_a_plain_list_looks_at_no_more_than_it_shows(self, desk: Desk) -> None:
        await desk.publish(n=9)
        page = await desk.inspector.events(EventFilter(), limit=4)
        assert (len(page.events), page.looked, page.would_help) == (4, 4, None)
        assert page.back_to == page.events[-1].occurred_at

    @pytest.mark.parametrize(
        ("index", "asked", "more"),
        [
            ("tenant", {"tenant_id": "acme"}, {}),
            ("key", {"key": "k"}, {}),
            ("name", {"name": "order.placed"}, {}),
            ("correlation", {}, {"correlation_id": "c-1"}),
        ],
    )
    async def test_a_time_beside_something_else_is_gone_to_straight(
        self, desk: Desk, short_looks: None, index: str, asked: dict[str, Any], more: dict[str, Any]
    ) -> None:
        for name in (index, "time"):
            await desk.operator.add_index(name, actor="me")
        alike = {"key": "k", "headers": b'{"correlation_id": "c-1"}'}
        await desk.publish(n=30, at=NOON, **alike)
        wanted = [(await desk.publish(at=NOON + timedelta(hours=hour), **alike))[0] for hour in (1, 2)]
        await desk.publish("cart.opened", tenant="other", at=NOON + timedelta(hours=1))
        await desk.publish(n=30, at=NOON + timedelta(hours=3), **alike)
        within = EventFilter(**asked, since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3))
        page = await desk.inspector.events(within, **more)
        assert (ids(page), page.found_by, page.looked, page.next_before) == (wanted[::-1], index, 2, None)
        assert await walked(desk, 1, filter=within, more=more) == wanted[::-1]

    @pytest.mark.parametrize(
        ("index", "asked", "more"),
        [
            ("time", {"since": NOON}, {}),
            ("tenant", {"tenant_id": "acme"}, {}),
            ("key", {"key": "k"}, {}),
            ("name", {"name": "order.placed"}, {}),
            ("correlation", {}, {"correlation_id": "c-1"}),
        ],
    )
    async def test_by_an_index_the_order_is_that_of_the_time(
        self, desk: Desk, index: str, asked: dict[str, Any], more: dict[str, Any]
    ) -> None:
        await desk.operator.add_index(index, actor="me")
        alike = {"key": "k", "headers": b'{"correlation_id": "c-1"}'}
        late, early, same = [
            (await desk.publish(at=NOON + timedelta(minutes=minute), **alike))[0] for minute in (9, 1, 9)
        ]
        await desk.publish("cart.opened", tenant="other", at=NOON - timedelta(days=1))
        assert await walked(desk, 1, filter=EventFilter(**asked), more=more) == [same, late, early]

    async def test_a_pattern_is_looked_for_in_the_log(self, desk: Desk, short_looks: None) -> None:
        await desk.operator.add_index("name", actor="me")
        (wanted,) = await desk.publish("cart.opened")
        await desk.publish(n=25)
        page = await desk.inspector.events(EventFilter(name="cart.*"))
        assert (page.found_by, page.would_help, page.events) == ("log", None, ())
        assert await walked(desk, 5, filter=EventFilter(name="cart.*"), more={}) == [wanted]


class TestBounds:
    async def test_what_no_index_leads_to_is_looked_for_so_far_and_further(self, desk: Desk, short_looks: None) -> None:
        await desk.subscribe()
        (pending,) = await desk.publish()
        await desk.publish("other.thing", n=50)
        page = await desk.inspector.events(EventFilter(), status="pending")
        assert (page.events, page.looked) == ((), 20)
        assert page.back_to is not None
        assert await walked(desk, 50, filter=EventFilter(), more={"status": "pending"}) == [pending]

    async def test_what_takes_its_time_is_looked_for_so_far_and_further(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(searching, "LOOKED_SECONDS", 0)
        monkeypatch.setattr(searching, "_PAGE", 10)
        await desk.subscribe()
        (pending,) = await desk.publish()
        await desk.publish("other.thing", n=50)
        page = await desk.inspector.events(EventFilter(), status="pending", limit=5)
        assert (page.events, page.looked) == ((), 5 + 15)
        assert page.next_before is not None
        assert await walked(desk, 5, filter=EventFilter(), more={"status": "pending"}) == [pending]

    async def test_what_an_index_says_alone_is_not_looked_at_beyond_the_page(self, desk: Desk) -> None:
        await desk.operator.add_index("tenant", actor="me")
        await desk.publish(n=40)
        asked: list[int] = []
        rows = desk.inspector.rows

        async def counted(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
            found = await rows(statement, **parameters)
            asked.append(len(found) if statement.startswith("candidates") else 0)
            return found

        desk.inspector.rows = counted
        page = await desk.inspector.events(EventFilter(tenant_id="acme"), limit=10)
        assert (len(page.events), max(asked)) == (10, 10)

    async def test_what_failed_is_found_by_its_delivery_rows(self, desk: Desk, short_looks: None) -> None:
        mail = await desk.subscribe("mail")
        _, dead = await desk.died()
        (failed,) = await desk.publish(tenant="other")
        (lease,) = await desk.lease(mail)
        rows, _ = await desk.read(lease)
        states = {dead: State.DEAD, failed: State.RETRYING}
        parked = [Parked(lease.slice, row, states[UUID(bytes=row.id)], reason="no", due_in=60.0) for row in rows]
        await desk.store.settle(Settlement({lease.slice: lease.epoch}, parked=parked))
        await desk.publish("other.thing", n=50)
        for status, event in (("dead", dead), ("failed", failed)):
            page = await desk.inspector.events(EventFilter(), status=status)
            assert (ids(page), page.found_by, page.looked, page.next_before) == ([event], "delivery", 1, None)
            assert await walked(desk, 1, filter=EventFilter(), more={"status": status}) == [event]
        assert ids(await desk.inspector.events(EventFilter(tenant_id="acme"), status="failed")) == []


class TestPayload:
    @pytest.mark.parametrize(
        ("payload", "path", "value", "is_found"),
        [
            (b'{"order": {"id": 13}}', "order.id", "13", True),
            (b'{"order": {"id": "13"}}', "order.id", "13", True),
            (b'{"order": {"id": 130}}', "order.id", "13", False),
            (b'{"lines": [{"sku": "a"}, {"sku": "b"}]}', "lines.1.sku", "b", True),
            (b'{"lines": [{"sku": "a"}]}', "lines.7.sku", "a", False),
            (b'["x"]', "0", "x", True),
            (b'{"paid": true}', "paid", "true", True),
            (b'{"price": 1.50}', "price", "1.50", True),
            (b'{"price": 1.50}', "price", "1.5", False),
            (b'{"a": null}', "a", "null", False),
            (b'{"a": {"b": 1}}', "a", '{"b": 1}', False),
            (b'{"a": "caf\\u00e9"}', "a", "café", True),
            (b'{"a": "\\ud83d\\ude00"}', "a", "\U0001f600", True),
            (b'{"a": 1}', "a.b.c", "1", False),
            (b'{"a\'b": "%"}', "a'b", "%", True),
        ],
    )
    async def test_a_value_at_a_path(
        self, desk: Desk, payload: bytes, path: str, value: str, *, is_found: bool
    ) -> None:
        (wanted,) = await desk.publish(payload=payload)
        await desk.publish(payload=b"{}")
        page = await desk.inspector.events(EventFilter(), payload=PayloadMatch(path, value))
        assert ids(page) == [wanted] * is_found

    async def test_a_payload_that_cannot_be_read_hides_no_other(self, desk: Desk) -> None:
        await desk.publish(payload=b'{"a": "\\ud800"}')
        await desk.publish(payload=b'{"a": "\\u0000"}')
        (wanted,) = await desk.publish(payload=b'{"a": "1"}')
        page = await desk.inspector.events(EventFilter(), payload=PayloadMatch("a", "1"))
        assert ids(page) == [wanted]

    def test_it_is_read_from_a_text(self) -> None:
        assert PayloadMatch.parse("order.id=a=b") == PayloadMatch("order.id", "a=b")

    @pytest.mark.parametrize("text", ["", "order.id", "=1", "a..b=1", ".a=1", "a=\x00", "a=\ud800"])
    def test_what_is_no_path_and_value_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput):
            PayloadMatch.parse(text)


class TestCorrelation:
    async def test_the_first_event_is_among_them(self, desk: Desk) -> None:
        (first,) = await desk.publish()
        (then,) = await desk.publish(headers=b'{"correlation_id": "%s"}' % str(first).encode())
        await desk.publish(headers=b'{"correlation_id": "another"}')
        for index in (None, "correlation"):
            if index is not None:
                await desk.operator.add_index(index, actor="me")
            page = await desk.inspector.events(EventFilter(), correlation_id=str(first))
            assert ids(page) == [then, first]

    async def test_an_event_that_names_itself_is_there_once(self, desk: Desk) -> None:
        await desk.operator.add_index("correlation", actor="me")
        own = uuid4()
        await desk.publish(event_id=own, headers=b'{"correlation_id": "%s"}' % str(own).encode())
        assert ids(await desk.inspector.events(EventFilter(), correlation_id=str(own))) == [own]

    async def test_headers_that_cannot_be_read_are_passed_over_and_long_ones_found(self, desk: Desk) -> None:
        await desk.operator.add_index("correlation", actor="me")
        await desk.publish(headers=b'{"x": "\\ud800"}')
        await desk.publish(headers=b'{"x": "\\"correlation_id\\": \\"c\\""}')
        long = "c" * 5_000
        (wanted,) = await desk.publish(headers=b'{"correlation_id": "%s"}' % long.encode())
        assert ids(await desk.inspector.events(EventFilter(), correlation_id=long)) == [wanted]
        assert ids(await desk.inspector.events(EventFilter(), correlation_id=long[:-1])) == []
        assert ids(await desk.inspector.events(EventFilter(), correlation_id="c")) == []


class TestEstimates:
    @pytest.mark.parametrize(
        ("filter", "exact"),
        [
            ({}, 40),
            ({"name": "cart.opened"}, 10),
            ({"name": "cart.*"}, 10),
            ({"tenant_id": "acme"}, 40),
            ({"key": "k"}, 0),
        ],
    )
    async def test_a_filter_and_the_whole_log(self, desk: Desk, filter: dict[str, str], exact: int) -> None:
        await desk.publish(n=30)
        await desk.publish("cart.opened", n=10)
        found = await desk.inspector.estimate(EventFilter(**filter))
        assert found.kind in {"exact", "estimate"}
        assert found.events == exact or found.kind == "estimate"

    async def test_statistics_make_it_good(self, desk: Desk, desk_dsn: str) -> None:
        await desk.publish(n=300)
        await desk.publish("cart.opened", n=100, tenant="other")
        if desk_dsn.startswith("postgresql"):
            async with await psycopg.AsyncConnection.connect(desk_dsn, autocommit=True) as connection:
                await connection.execute("analyze")
        for asked, events in ((EventFilter(), 400), (EventFilter(tenant_id="other"), 100)):
            assert (await desk.inspector.estimate(asked)).events == pytest.approx(events, rel=0.1)


class TestIndexes:
    async def test_they_are_made_and_dropped_and_it_is_on_record(self, desk: Desk) -> None:
        await desk.publish(n=3)
        assert {one.name: one.state for one in await desk.inspector.search_indexes()} == dict.fromkeys(
            INDEXES, "missing"
        )
        for index in INDEXES:
            assert await desk.operator.add_index(index, actor="ann")
            assert not await desk.operator.add_index(index, actor="ann")
        assert {one.state for one in await desk.inspector.search_indexes()} == {"ready"}
        await desk.publish(n=3, headers=b'{"correlation_id": "c"}')
        for index in INDEXES:
            await desk.operator.drop_index(index, actor="ann")
        assert {one.state for one in await desk.inspector.search_indexes()} == {"missing"}
        audit = await desk.inspector.audit()
        assert [(row.action, row.target, row.count) for row in audit[-2:]] == [
            ("index add", "correlation", 1), ("index add", "causation", 1),
        ]  # fmt: skip
        assert (audit[0].action, audit[0].actor, audit[0].allowed) == ("index drop", "ann", True)

    async def test_an_unknown_one_is_refused_and_that_is_on_record(self, desk: Desk) -> None:
        with pytest.raises(NotFound, match="there are causation, correlation, key"):
            await desk.operator.add_index("tenants", actor="ann")
        (row,) = await desk.inspector.audit()
        assert (row.action, row.target, row.allowed) == ("index add", "tenants", False)
        assert "no search index" in row.detail["refused"]

    async def test_nobody_is_no_actor(self, desk: Desk) -> None:
        with pytest.raises(InvalidInput, match="actor"):
            await desk.operator.add_index("tenant", actor="")
        assert {one.state for one in await desk.inspector.search_indexes()} == {"missing"}

    @pytest.mark.parametrize("desk_dsn", ["postgres"], indirect=True)
    async def test_a_build_that_is_broken_off_goes_on_where_it_was(self, desk: Desk, desk_dsn: str) -> None:
        await desk.publish(n=3)

        async def states() -> set[str]:
            return {one.state for one in await desk.inspector.search_indexes() if one.name == "tenant"}

        async def is_building() -> bool:
            return await states() == {"building"}

        async with await psycopg.AsyncConnection.connect(desk_dsn) as reader:
            # Whoever can still see the past of the table keeps a concurrent build from its end.
            await reader.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await reader.execute("select count(*) from holdfast.event_log")
            build = asyncio.create_task(desk.operator.add_index("tenant", actor="ann"))
            await until(is_building)
            with pytest.raises(BusStateError, match="being built already"):
                await desk.operator.add_index("time", actor="bob")
            # Nobody is kept waiting by it.
            await desk.publish(n=3)
            build.cancel()
            with pytest.raises(asyncio.CancelledError):
                await build
        await until(lambda: is_in(states, "incomplete"))
        page = await desk.inspector.events(EventFilter(tenant_id="acme"))
        assert (len(page.events), page.found_by) == (6, "log")
        async with await psycopg.AsyncConnection.connect(desk_dsn, autocommit=True) as worker:
            await worker.execute(
                "select holdfast.make_day(current_date + 30)"
            )  # a day made meanwhile is none's concern
        assert await desk.operator.add_index("tenant", actor="ann")
        assert await states() == {"ready"}
        assert (await desk.inspector.events(EventFilter(tenant_id="acme"))).found_by == "tenant"

    @pytest.mark.parametrize("desk_dsn", ["postgres"], indirect=True)
    async def test_days_made_later_have_it_too(self, desk: Desk, desk_dsn: str) -> None:
        await desk.operator.add_index("tenant", actor="ann")
        async with await psycopg.AsyncConnection.connect(desk_dsn, autocommit=True) as connection:
            await connection.execute("select holdfast.make_day(current_date + 30)")
            cursor = await connection.execute(
                "select count(*) from pg_index where indrelid = to_regclass("
                "'holdfast.event_log_' || to_char(current_date + 30, 'YYYYMMDD'))"
            )
            (ours,) = await cursor.fetchone()
        assert ours == 4  # the primary key, two of the log, and this one
        assert {one.state for one in await desk.inspector.search_indexes() if one.name == "tenant"} == {"ready"}


async def is_in(states: Callable[[], Awaitable[set[str]]], state: str) -> bool:
    return state in await states()
