"""The feed: server-sent events from a real server over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager, suppress

import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast import EventBus
from holdfast.dashboard import Actor, Role
from holdfast.errors import ConfigurationError, InvalidInput, StoreUnavailable
from holdfast.relay import feed as feed_module
from holdfast.relay.feed import Feed
from holdfast.relay.place import Place, place_of
from holdfast.relay.tail import PAGE_BYTES, Tail
from holdfast.stores.postgres.reader import snapshot_order
from holdfast.stores.values import Cursor
from holdfast.testing import LocalPostgres

from .serving import served

ANN = Actor("ann@example.org", Role.VIEWER)


def ann(_request):
    return ANN


class Reading:
    """What a browser makes of a stream."""

    def __init__(self, response):
        self.response = response
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def next(self):
        """(event, id, data) of the next event; a place alone has no data."""
        kind, data = "message", []
        async with asyncio.timeout(20):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if not line:
                    if data or kind != "message":
                        return kind, self.last_id, json.loads("\n".join(data))
                    continue
                if name == "id":
                    self.last_id = value
                elif name == "data":
                    data.append(value)
                elif name == "event":
                    kind = value
        raise EOFError

    async def payloads(self, count):
        return [(await self.next())[2]["data"] for _ in range(count)]

    async def until_id(self, before):
        """Until a comment has told a later place."""
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.last_id = line[4:]
                if self.last_id != before:
                    return self.last_id
        raise EOFError


@asynccontextmanager
async def feeding(bus, **options):
    """(client, feed) of a feed behind a real server."""
    feed = Feed(bus, **{"authenticate": ann, "poll_interval": 0.01, **options})
    async with served(feed) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        yield client, feed
        feed.end()


@asynccontextmanager
async def reading(client, query="", last_id=None):
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with client.stream("GET", f"/feed{query}", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        found = Reading(response)
        found.last_id = last_id or ""
        yield found


async def wait_until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - there is nothing that tells
            await asyncio.sleep(0.005)


@pytest.fixture
async def stored(bus):
    """A bus whose tables are there."""
    await bus.publish("before.all", {})
    return bus


async def test_events_come_as_cloudevents_in_order(stored):
    async with feeding(stored) as (client, _), reading(client) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        first = await stored.publish("order.placed", {"n": 0}, key="k", tenant_id="acme")
        for number in range(1, 50):
            await stored.publish("order.placed", {"n": number}, key="k")
        kind, place, data = await stream.next()
        assert (kind, data["id"], data["type"], data["tenantid"]) == (
            "message",
            str(first.event_id),
            "order.placed",
            "acme",
        )
        assert place
        assert await stream.payloads(49) == [{"n": number} for number in range(1, 50)]


async def test_a_reader_that_comes_again_gets_exactly_what_follows(stored):
    async with feeding(stored) as (client, feed):
        places = []
        async with reading(client) as stream:
            await stored.publish_many({"name": "order.placed", "payload": number} for number in range(40))
            await stored.publish_many({"name": "order.placed", "payload": number} for number in range(40, 60))
            places += [(await stream.next())[1] for _ in range(60)]
        assert len(set(places)) == 60
        await stored.publish("order.placed", 60)
        for number in (0, 1, 17, 38, 39, 40, 58, 59):
            async with reading(client, last_id=places[number]) as stream:
                assert await stream.payloads(60 - number) == list(range(number + 1, 61))
        async with reading(client, query=f"?after={places[30]}") as stream:
            assert await stream.payloads(30) == list(range(31, 61))
    async with feeding(stored) as (client, _), reading(client, last_id=places[17]) as stream:  # another process
        assert await stream.payloads(43) == list(range(18, 61))


async def test_an_event_that_commits_late_is_not_missed_by_who_comes_again(make_bus, emptied_dsn):
    bus = make_bus(emptied_dsn)
    await bus.publish("before.all", {})
    async with feeding(bus) as (client, _), await psycopg.AsyncConnection.connect(emptied_dsn) as late:
        async with reading(client) as stream:
            await bus.publish("order.placed", "late", tx=late)  # an early number, and not committed
            await bus.publish("order.placed", "first")
            await bus.publish("order.placed", "second")
            assert await stream.payloads(2) == ["first", "second"]
            place = stream.last_id
        await late.commit()
        await bus.publish("order.placed", "third")
        async with reading(client, last_id=place) as stream:
            assert await stream.payloads(2) == ["late", "third"]


async def test_under_many_writers_with_late_commits_nothing_is_missed_or_repeated(make_bus, emptied_dsn):
    bus = make_bus(emptied_dsn)
    await bus.publish("before.all", {})
    done = asyncio.Event()

    async def write(writer):
        async with await psycopg.AsyncConnection.connect(emptied_dsn) as connection:
            for number in range(30):
                await bus.publish("order.placed", [writer, number], tx=connection)
                await asyncio.sleep(0.002 * ((writer + number) % 4))
                await (connection.rollback() if number % 7 == 6 else connection.commit())

    async def write_all():
        await asyncio.gather(*(write(writer) for writer in range(6)))
        await bus.publish("all.done", None)
        done.set()

    async with feeding(bus) as (client, _):
        async with reading(client) as stream:
            place = await stream_start(stream, bus)
            writing = asyncio.create_task(write_all())
        seen, ended = [], False
        while not ended:
            async with reading(client, last_id=place) as stream:
                for _ in range(9):  # and come again
                    _, place, data = await stream.next()
                    if data["type"] == "all.done":
                        ended = True
                        break
                    seen.append(tuple(data["data"]))
        await writing
    assert done.is_set()
    expected = {(writer, number) for writer in range(6) for number in range(30) if number % 7 != 6}
    assert len(seen) == len(set(seen))
    assert set(seen) == expected


async def stream_start(stream, bus):
    await bus.publish("begin", None)
    return (await stream.next())[1]


async def test_only_what_is_asked_for_comes(stored):
    async with feeding(stored) as (client, _):
        async with (
            reading(client, "?patterns=order.*&patterns=invoice.**&tenant=acme") as both,
            reading(client, "?patterns=order.*,invoice.paid") as others,
        ):
            for name, tenant in (("order.placed", "acme"), ("order.placed", "other"), ("order.a.b", "acme"),
                                 ("invoice.paid", "acme"), ("invoice.a.b", "acme"), ("user.made", "acme")):  # fmt: skip
                await stored.publish(name, [name, tenant], tenant_id=tenant)
            assert await both.payloads(3) == [
                ["order.placed", "acme"],
                ["invoice.paid", "acme"],
                ["invoice.a.b", "acme"],
            ]
            assert await others.payloads(3) == [
                ["order.placed", "acme"],
                ["order.placed", "other"],
                ["invoice.paid", "acme"],
            ]


@pytest.mark.parametrize(
    ("options", "query", "code", "words"),
    [
        ({"authenticate": None}, "", 403, "without authenticate="),
        ({"authenticate": lambda request: ANN if request.headers.get("x-token") == "t" else None}, "", 401, "not known"),
        ({"tenant_of": lambda actor: "acme"}, "?tenant=other", 403, "not for you"),
        ({}, "?patterns=a..b", 400, "patterns"),
        ({}, "?patterns=", 400, "patterns"),
        ({}, "?patterns=" + ",".join(f"a{n}" for n in range(101)), 400, "patterns"),
        ({}, "?tenant=a&tenant=b", 400, "tenant"),
        ({}, "?tenant=", 400, "tenant"),
        ({}, "?after=nonsense", 400, "Last-Event-ID"),
        ({}, "?" + "&".join(["tenant=a"] * 300), 400, "fields"),
        ({}, "/more", 404, "nothing here"),
        ({"streams": 0}, "", 503, "at most 0"),
    ],
)  # fmt: skip
async def test_who_may_not_read_or_asks_wrongly_is_told(options, query, code, words, make_bus, sqlite_dsn):
    bus = make_bus(sqlite_dsn)
    await bus.publish("before.all", {})
    async with feeding(bus, **options) as (client, _):
        answer = await client.get(f"/feed{query}")
    assert answer.status_code == code
    assert words in answer.json()["error"]


async def test_only_gets_are_answered(make_bus, sqlite_dsn):
    async with feeding(make_bus(sqlite_dsn)) as (client, _):
        answer = await client.post("/feed")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_an_actor_sees_its_own_tenant_alone(stored):
    async def later(request):
        return Actor(request.headers["x-user"], Role.VIEWER)

    async with feeding(stored, authenticate=later, tenant_of=lambda actor: actor.name) as (client, _):
        client.headers["x-user"] = "acme"
        async with reading(client) as stream:
            await stored.publish("a", 1, tenant_id="other")
            await stored.publish("a", 2, tenant_id="acme")
            assert await stream.payloads(1) == [2]


async def test_while_nothing_comes_a_comment_tells_how_far_it_got(stored):
    async with feeding(stored, heartbeat=0.05) as (client, _):
        async with reading(client, "?patterns=order.*") as stream:
            place = await stream.until_id("")
            await stored.publish("user.made", "not asked for")
            later = await stream.until_id(place)
        await stored.publish("order.placed", 1)
        async with reading(client, last_id=later) as stream:
            assert await stream.payloads(1) == [1]


async def test_a_reader_that_leaves_leaves_nothing(stored):
    async with feeding(stored) as (client, feed):
        async with reading(client) as stream:
            await stored.publish("a", 1)
            await stream.payloads(1)
            assert feed._open == 1
        await wait_until(lambda: feed._open == 0)


async def test_readers_and_what_they_got_are_counted(stored):
    async with feeding(stored, streams=2) as (client, _):
        async with reading(client) as one, reading(client, "?patterns=b") as other:
            counts = stored.counts.feed
            assert (await client.get("/feed")).status_code == 503
            await stored.publish_many([{"name": name, "payload": 1} for name in "aab"])
            await one.payloads(3)
            await other.payloads(1)
            assert (counts.readers, counts.sent) == (2, 4)
        await wait_until(lambda: counts.readers == 0)
        assert (await client.get("/feed?tenant=")).status_code == 400
    assert {why: count for why, count in counts.refused.items() if count} == {"not now": 1, "malformed": 1}


async def test_a_slow_reader_is_waited_for_and_nothing_is_kept_for_it(make_bus, sqlite_dsn):
    bus = make_bus(sqlite_dsn)
    await bus.publish("before.all", {})
    payload = "x" * 100_000
    async with feeding(bus) as (client, feed):
        async with reading(client) as slow, reading(client) as quick:
            for _ in range(20):
                await bus.publish_many([{"name": "a", "payload": payload}] * 10 + [{"name": "a", "payload": "tick"}])
                assert (await quick.payloads(11))[-1] == "tick"
            assert feed._tail._bytes <= 17 * 2**20
            assert len(feed._tail._pages) <= 64
            assert (await slow.payloads(220)).count("tick") == 20


async def test_many_readers_cost_the_store_as_much_as_one(make_bus, sqlite_dsn, monkeypatch):
    from holdfast.stores.sqlite.reader import SQLiteReader

    reads, real = 0, SQLiteReader.read

    async def counted(self, cursor, **options):
        nonlocal reads
        reads += 1
        return await real(self, cursor, **options)

    monkeypatch.setattr(SQLiteReader, "read", counted)
    bus = make_bus(sqlite_dsn)
    await bus.publish("before.all", {})
    async with feeding(bus, poll_interval=0.05) as (client, _):
        streams = [reading(client) for _ in range(30)]
        opened = [await stream.__aenter__() for stream in streams]
        await bus.publish("begin", 0)
        for stream in opened:
            await stream.payloads(1)
        reads, begun = 0, asyncio.get_running_loop().time()
        for number in range(10):
            await bus.publish("a", number)
            for stream in opened:
                assert await stream.payloads(1) == [number]
        took = asyncio.get_running_loop().time() - begun
        for stream in streams:
            await stream.__aexit__(None, None, None)
    # Once for each look of all together and once for each event; 30 times that where each looked for itself.
    assert reads <= 3 * (took / 0.05 + 10)


async def test_what_is_behind_catches_up_with_the_others(stored):
    async with feeding(stored) as (client, feed):
        async with reading(client) as first:
            await stored.publish("a", 0)
            _, place, _ = await first.next()
            await stored.publish_many({"name": "a", "payload": number} for number in range(1, 500))
            assert await first.payloads(499) == list(range(1, 500))
            async with reading(client, last_id=place) as second:
                assert await second.payloads(499) == list(range(1, 500))
                await stored.publish("a", 500)
                assert (await first.payloads(1), await second.payloads(1)) == ([500], [500])
                assert len(feed._tail._pages) <= 64


async def test_a_lost_session_is_not_noticed_by_readers(make_bus, emptied_dsn):
    bus = make_bus(emptied_dsn)
    await bus.publish("before.all", {})
    async with feeding(bus) as (client, _), reading(client) as stream:
        for number in range(3):
            await bus.publish("a", number)
            assert await stream.payloads(1) == [number]
            with psycopg.connect(emptied_dsn, autocommit=True) as other:
                other.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
        await bus.publish("a", "last")
        assert await stream.payloads(1) == ["last"]


async def burn_transaction_ids(dsn):
    """Ids that nobody writes down, the server's own writer least of all: after a crash they are handed out again."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        writers = await connection.execute("select pid from pg_stat_activity where backend_type = 'walwriter'")
        for (pid,) in await writers.fetchall():
            os.kill(pid, signal.SIGSTOP)
        for _ in range(60):
            await connection.execute("select pg_current_xact_id()")
            await connection.rollback()


async def test_over_a_crash_of_the_server_nothing_is_missed(make_bus):
    with LocalPostgres() as server:
        dsn = server.dsn()
        bus = make_bus(dsn, store_timeout=20)
        await bus.publish("before.all", {})
        async with feeding(bus, heartbeat=0.02) as (client, _):
            late = await psycopg.AsyncConnection.connect(dsn)
            async with reading(client) as stream, reading(client, "?patterns=never") as idle:
                await bus.publish("a", "late", tx=late)
                await bus.publish("a", "first")
                assert await stream.payloads(1) == ["first"]
                await burn_transaction_ids(dsn)
                place = await stream.until_id(stream.last_id)  # it shows all those ids
                await idle.until_id(await idle.until_id(""))
            await late.commit()
            await late.close()
            async with reading(client) as connected:
                await bus.publish("a", "seen")
                assert await connected.payloads(1) == ["seen"]
                await burn_transaction_ids(dsn)
                await connected.until_id(connected.last_id)
                server.kill()
                server.start()
                for number in range(30):
                    await bus.publish("a", number)
                assert (await connected.next())[0] == "holdfast.again"
                assert await connected.payloads(30) == list(range(30))
            for number, last_id in enumerate((place, idle.last_id), 30):
                async with reading(client, last_id=last_id) as again:
                    assert (await again.next())[0] == "holdfast.again"
                    await bus.publish("a", number)
                    found = []
                    while number not in found:
                        found += await again.payloads(1)
                    assert [one for one in found if one not in {"first", "end"}] == ["late", "seen", *range(number + 1)]
                    await bus.publish("a.b", "end")
                    assert await again.payloads(1) == ["end"]
            async with reading(client, "?patterns=a", last_id=again.last_id) as onward:
                await bus.publish("a", "onward")
                assert await onward.payloads(1) == ["onward"]
        await bus.close()


async def test_what_follows_a_place_of_before_a_crash_does_not_follow_the_same_place_of_after_it(make_bus):
    """Ids are handed out again: whoever came to them was led back by the page, for ever, and sent it again each time."""
    with LocalPostgres() as server:
        bus = make_bus(server.dsn(), store_timeout=20)
        await bus.publish("before.all", {})
        await bus.close()
        tail = Tail(server.dsn(), "holdfast", poll_interval=0.01)
        await tail.now()
        await burn_transaction_ids(server.dsn())
        before = await tail.now()
        server.kill()
        server.start()
        led_back = None
        while led_back is None:
            with suppress(StoreUnavailable):  # its connections are found dead one after the other
                led_back = await tail.read(before)
        assert not before.is_of(led_back)
        order = snapshot_order(before.cursor.done)
        assert snapshot_order(led_back.cursor.done) < order
        async with await psycopg.AsyncConnection.connect(server.dsn(), autocommit=True) as connection:
            seen = led_back.cursor.done
            while snapshot_order(seen) < order:
                await connection.execute("select pg_current_xact_id()")
                ((seen,),) = await (await connection.execute("select pg_current_snapshot()::text")).fetchall()
        page = await tail.read(before._replace(incarnation=led_back.incarnation))
        assert snapshot_order(page.cursor.done) >= order
        await tail.close()


async def test_a_reader_that_has_seen_nothing_is_told_of_a_crash(make_bus):
    with LocalPostgres() as server:
        bus = make_bus(server.dsn(), store_timeout=20)
        await bus.publish("before.all", {})
        async with feeding(bus) as (client, _), reading(client) as stream:
            server.kill()
            server.start()
            kind, _, data = await stream.next()
            assert (kind, data) == (
                "holdfast.gap",
                {"reason": "the database server has crashed: events may be missing here"},
            )
            await bus.publish("a", 2)
            assert await stream.payloads(1) == [2]
        await bus.close()


async def test_while_the_store_is_away_no_reader_is_let_in(make_bus):
    async with feeding(make_bus("postgresql://localhost:1/nowhere")) as (client, _):
        answer = await client.get("/feed")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_what_another_program_has_stored_is_told_as_it_is(make_bus, emptied_dsn):
    bus = make_bus(emptied_dsn)
    await bus.publish("before.all", {})
    async with feeding(bus) as (client, _), reading(client) as stream:
        with psycopg.connect(emptied_dsn, autocommit=True) as other:
            insert = (
                "insert into holdfast.event_store (tenant_id, event_name, payload, headers) values ('t', 'a', %s, %s)"
            )
            other.execute(insert, ('{"a":\n1,\r\n"b": "x"}', None))
            other.execute(insert, ("1", "[1]"))
        _, _, data = await stream.next()
        assert data["data"] == {"a": 1, "b": "x"}
        kind, _, data = await stream.next()
        assert kind == "holdfast.unreadable"
        assert set(data) == {"id", "error"}


async def test_a_stream_ends_when_the_feed_is_closed(stored):
    async with feeding(stored) as (client, feed), reading(client) as stream:
        feed.end()
        with pytest.raises(EOFError):
            await stream.next()


async def test_a_stream_ends_after_a_while_and_is_taken_up_again(stored, monkeypatch):
    async with feeding(stored) as (client, _):
        async with reading(client) as stream:
            await stored.publish("begin", None)
            _, place, _ = await stream.next()
        monkeypatch.setattr(feed_module, "STREAM_SECONDS", 0.1)
        seen, ends = [], 0
        while len(seen) < 2:
            async with reading(client, last_id=place) as stream:
                with suppress(EOFError):
                    while True:
                        seen += await stream.payloads(1)
                place, ends = stream.last_id, ends + 1
            if ends in {1, 2}:
                await stored.publish("a", ends)
        assert seen == [1, 2]


async def test_a_feed_can_be_mounted(stored):
    feed = Feed(stored, authenticate=ann, poll_interval=0.01)
    async with served(Starlette(routes=[Mount("/shop", feed)])) as (host, port):
        async with (
            httpx.AsyncClient(base_url=f"http://{host}:{port}/shop", timeout=30) as client,
            reading(client) as stream,
        ):
            await stored.publish("a", 1)
            assert await stream.payloads(1) == [1]
            feed.end()
    await feed.close()


def test_what_is_set_up_wrongly_is_said_at_once(sqlite_dsn):
    with pytest.raises(ConfigurationError, match="in memory"):
        Feed(EventBus("sqlite://"), authenticate=ann)
    with pytest.raises(ConfigurationError, match="function"):
        Feed(EventBus(sqlite_dsn), authenticate="ann")


positions = st.integers(0, 10**18 - 1).map(str)
snapshots = st.from_regex(r"[0-9]{1,10}:[0-9]{1,10}:([0-9]{1,10}(,[0-9]{1,10}){0,20})?", fullmatch=True)
places = st.one_of(
    st.builds(
        Place,
        st.builds(Cursor, kind, st.none() | kind, st.integers(0, 2**62)),
        st.none() | st.uuids().map(str),
        st.integers(0, 2**62),
    )
    for kind in (positions, snapshots)
)


@given(places)
def test_a_place_comes_back_from_its_text(place):
    text = place.text()
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()
    assert place_of(text) == place


@settings(max_examples=200)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: Place(Cursor(raw.decode("latin-1"))).text()))
def test_no_other_text_is_a_place(text):
    try:
        found = place_of(text)
    except InvalidInput:
        return
    assert set(found.cursor.done) <= set("0123456789:,")


async def test_places_of_other_stores_do_no_harm(stored):
    places = [
        Cursor("99999999999:99999999999:"),
        Cursor("1:1:", "0", 5),
        Cursor("5:3:"),
        Cursor("1:2:3:4"),
        Cursor(":"),
        Cursor("7"),
    ]
    async with feeding(stored) as (client, _):
        for cursor in places:
            async with client.stream("GET", "/feed", headers={"Last-Event-ID": Place(cursor).text()}) as answer:
                assert answer.status_code in {200, 400}
        async with reading(client) as stream:
            await stored.publish("a", 1)
            assert await stream.payloads(1) == [1]


async def test_pages_of_a_tail_are_bounded(make_bus, sqlite_dsn):
    bus = make_bus(sqlite_dsn)
    await bus.publish_many({"name": "a", "payload": "x" * 500_000} for _ in range(60))
    tail = Tail(sqlite_dsn, "holdfast", poll_interval=0.01)
    place, rows = Place(Cursor("0")), 0
    while True:
        page = await tail.read(place)
        if page.cursor == place.cursor:
            break
        rows, place = rows + len(page.rows), place.onward(page)
        assert sum(row.size for row in page.rows) <= PAGE_BYTES + 500_010
        assert tail._bytes <= 17 * 2**20
    assert rows == 60
    await tail.close()
