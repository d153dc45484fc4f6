"""What a relay and an ingest promise, whichever broker it is: a broker's test file holds its fixture only.

Each bad day has its test and its outcome. `Broker` is what a fixture ``broker`` has to offer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import uuid4

import psycopg
import pytest

from holdfast import EventBus, RetryPolicy
from holdfast.errors import BrokerUnreachable
from holdfast.relay.cloudevents import made_identity
from holdfast.relay.message import REFUSED_EVENT
from tests.relay.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from holdfast import Event

SOON = 30.0


class Taken(NamedTuple):
    """A message as it lies at the broker, read without our code. Names of headers in lower case, ``ce-…``."""

    id: str
    key: str | None
    body: bytes
    headers: dict[str, str]


class Broker(Protocol):
    """
    Attributes:
        port: Where it listens.
        to_url, from_url: Of one place, from both sides. ``{port}`` stands where the port belongs.
        missing_url, missing_from_url: A place that is not there, and is not made; of an ingest, None where it makes it.
        few: The option with which an ingest has a few messages in hand at most.
        refused_url: A login that is not let in, with the password ``wrong-password``; None: it knows no logins.
        limit: Bytes that no message may have; None: as many as anybody likes.
        forgets_repeats: Whether it takes a message that is sent again for the same one.
    """

    port: int
    to_url: str
    from_url: str
    missing_url: str | None
    missing_from_url: str | None
    few: str
    refused_url: str | None
    limit: int | None
    forgets_repeats: bool

    async def taken(self) -> Sequence[Taken]:
        """Everything that was relayed to it, in its order."""

    async def put(self, body: bytes, headers: Mapping[str, str], *, name: str = "order.placed") -> None:
        """Something that a stranger sends, to be taken in."""

    def kill(self) -> None: ...
    def start(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


async def until(condition: Callable[[], Any], within: float = SOON) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """What a store's tables say, read without Holdfast."""
    if dsn.startswith("sqlite"):
        with sqlite3.connect(dsn.removeprefix("sqlite:///")) as connection:
            found = connection.execute(query).fetchall()
        connection.close()
        return found
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set search_path = holdfast")
        return connection.execute(query).fetchall()


def bus_on(dsn: str, **options: Any) -> EventBus:
    return EventBus(dsn, **{"auto_migrate": True, "spool": "off", "stop_timeout": 10, "store_timeout": 5, **options})


@asynccontextmanager
async def working(*buses: EventBus) -> AsyncIterator[None]:
    try:
        for bus in buses:
            await bus.__aenter__()
        yield
    finally:
        for bus in buses:
            await bus.close()


def orders(count: int, keys: int = 7, first: int = 0) -> list[dict[str, Any]]:
    """Events of several keys, each with its place in its key; every tenth has none."""
    places: Counter[str] = Counter({f"k{n}": first for n in range(keys)})
    found = []
    for number in range(count):
        key = None if number % 10 == 9 else f"k{number % keys}"
        payload: dict[str, Any] = {"key": key}
        if key is not None:
            payload["place"] = places[key]
            places[key] += 1
        found.append({"name": "order.placed", "payload": payload, "key": key, "event_id": str(uuid4())})
    return found


def faults(sent: Sequence[Mapping[str, Any]], bodies: Sequence[tuple[str, bytes]]) -> dict[str, int]:
    """Lost, repeated, and out of order: the first arrivals of a key have to go up."""
    arrived = Counter(event_id for event_id, _ in bodies)
    violations, newest = 0, defaultdict(lambda: -1)
    seen = set()
    for event_id, body in bodies:
        content = json.loads(body)
        if event_id in seen or content["key"] is None:
            continue
        seen.add(event_id)
        violations += content["place"] < newest[content["key"]]
        newest[content["key"]] = max(newest[content["key"]], content["place"])
    wanted = {item["event_id"] for item in sent}
    return {
        "lost": len(wanted - arrived.keys()),
        "unknown": len(arrived.keys() - wanted),
        "repeated": sum(arrived.values()) - len(arrived),
        "disorder": violations,
    }


async def arrivals(broker: Broker) -> list[tuple[str, bytes]]:
    return [(one.id, one.body) for one in await broker.taken()]


def cloud_event(number: int, *, id: str | None = None, **more: str) -> tuple[bytes, dict[str, str]]:
    """A stranger's CloudEvent in the binary mode."""
    headers = {
        "ce-specversion": "1.0", "ce-id": id or str(uuid4()), "ce-source": "/shop", "ce-type": "order.placed",
        "ce-partitionkey": f"k{number % 5}", "content-type": "application/json", **more,
    }  # fmt: skip
    return json.dumps({"key": f"k{number % 5}", "place": number // 5}).encode(), headers


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged as an error by us; clients log too."""
    found = [one for one in caplog.records if (one.name, one.levelno) == ("holdfast.relay", logging.ERROR)]
    return [one.getMessage() for one in found]


class RelayContract:
    """Events go out."""

    async def test_events_arrive_in_order_per_key_under_their_ids(self, broker: Broker, dsn: str) -> None:
        bus = bus_on(dsn)
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out")
        sent = orders(400)
        async with working(bus):
            await bus.publish_many(sent)
            await bus.drain(SOON)
            assert bus.counts is not None
            assert bus.counts.relays["out"].sent == 400
        assert faults(sent, await arrivals(broker)) == {"lost": 0, "unknown": 0, "repeated": 0, "disorder": 0}

    async def test_a_message_is_a_cloud_event_with_what_the_event_says(self, broker: Broker, dsn: str) -> None:
        bus = bus_on(dsn)
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out", source="/shop")
        async with working(bus):
            published = await bus.publish(
                "order.placed", {"n": 1, "who": "Zoë"}, key="k 1/ä", tenant_id="acme", headers={"actor": "me"}
            )
            await bus.drain(SOON)
        (message,) = await broker.taken()
        assert message.id == str(published.event_id)
        assert json.loads(message.body) == {"n": 1, "who": "Zoë"}
        found = {name: value for name, value in message.headers.items() if name.startswith("ce-")}
        assert found.pop("ce-time")
        assert found == {
            "ce-specversion": "1.0", "ce-id": str(published.event_id), "ce-source": "/shop", "ce-type": "order.placed",
            "ce-tenantid": "acme", "ce-partitionkey": "k 1/ä", "ce-actor": "me",
        }  # fmt: skip

    async def test_no_receipt_before_the_acknowledgement(self, broker: Broker, dsn: str) -> None:
        bus = bus_on(dsn)
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out")
        async with working(bus):
            await bus.publish("order.placed", {"key": None})
            await bus.drain(SOON)  # connected
            broker.freeze()
            try:
                await bus.publish("order.placed", {"key": None})
                await until(lambda: bus.counts.subscriptions["out"].in_hand == 1)
                assert rows(dsn, "select count(*) from event_consumers") == [(1,)]
            finally:
                broker.thaw()
            await bus.drain(SOON)
        assert rows(dsn, "select count(*) from event_consumers") == [(2,)]

    async def test_killed_and_started_again_in_mid_run_nothing_is_lost(self, broker: Broker, dsn: str) -> None:
        bus = bus_on(dsn)
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out", batch=20)
        sent = orders(1500)
        async with working(bus):
            relay = bus.counts.relays["out"]
            for start in range(0, 1500, 100):
                await bus.publish_many(sent[start : start + 100])
                if start in (300, 900):
                    await until(lambda start=start: relay.sent > start - 200)
                    broker.kill()
                    await bus.publish("order.placed", {"key": None}, event_id=(one := str(uuid4())))
                    sent.append({"event_id": one})
                    await until(lambda: relay.is_away)
                    broker.start()
            await bus.drain(60)
            assert relay.outages >= 2
        found = faults(sent, await arrivals(broker))
        repeated = found.pop("repeated")
        assert found == {"lost": 0, "unknown": 0, "disorder": 0}
        assert repeated <= relay.outages * 20
        assert rows(dsn, "select count(*) from deliveries") == [(0,)]  # an outage is no failure of any event
        assert rows(dsn, "select max(attempts) from event_consumers") == [(1,)]

    async def test_unreachable_at_the_start_events_wait(
        self, broker: Broker, dsn: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        broker.kill()
        bus = bus_on(dsn)
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out")
        sent = orders(150)
        with caplog.at_level(logging.WARNING, "holdfast.relay"):
            async with working(bus):
                await bus.publish_many(sent)
                await until(lambda: bus.counts.relays["out"].outages >= 3)
                assert bus.counts.subscriptions["out"].counts.failed == 0
                broker.start()
                await bus.drain(60)
        assert faults(sent, await arrivals(broker)) == {"lost": 0, "unknown": 0, "repeated": 0, "disorder": 0}
        said = [record.getMessage() for record in caplog.records]
        assert [one for one in said if "relay 'out' waits" in one]
        assert "relay 'out' goes on: the broker is back" in said

    async def test_a_worker_stops_at_once_while_the_broker_is_away(self, broker: Broker, dsn: str) -> None:
        broker.kill()
        bus = bus_on(dsn)
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out")
        sent = orders(150)
        async with working(bus):
            await bus.publish_many(sent)
            await until(lambda: bus.counts.relays["out"].outages >= 1)
            async with asyncio.timeout(5):
                await bus.close()
        assert rows(dsn, "select count(*) from deliveries") == [(0,)]
        broker.start()
        async with working(bus):  # the next worker goes on where the first one was
            await bus.drain(60)
        assert faults(sent, await arrivals(broker)) == {"lost": 0, "unknown": 0, "repeated": 0, "disorder": 0}

    async def test_a_refused_login_is_told_without_the_password_and_kills_nothing(
        self, broker: Broker, dsn: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        if broker.refused_url is None:
            pytest.skip("this broker is set up without logins")
        await self._waits(broker, broker.refused_url, dsn, caplog)

    async def test_a_missing_target_is_told_and_kills_nothing(
        self, broker: Broker, dsn: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        if broker.missing_url is None:
            pytest.skip("this broker makes what is missing")
        await self._waits(broker, broker.missing_url, dsn, caplog)

    async def _waits(self, broker: Broker, url: str, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
        bus = bus_on(dsn, stop_timeout=0)
        bus.relay("order.**", url.format(port=broker.port), name="out")
        async with working(bus):
            await bus.publish("order.placed", {"key": None})
            await until(lambda: errors(caplog), 60)
        assert errors(caplog)[0].startswith("relay 'out' waits: ")
        assert "wrong-password" not in caplog.text
        assert rows(dsn, "select count(*) from deliveries") == [(0,)]
        assert rows(dsn, "select count(*) from event_consumers") == [(0,)]

    async def test_over_the_limit_one_message_is_dead_and_its_neighbours_arrive(self, broker: Broker, dsn: str) -> None:
        if broker.limit is None:
            pytest.skip("this broker takes messages of any size")
        bus = bus_on(dsn, max_payload=64 * 2**20)
        bus.relay("order.**", broker.to_url.format(port=broker.port), name="out")
        sent = orders(20)
        large = {"key": None, "place": 0, "filler": "x" * broker.limit}
        async with working(bus):
            await bus.publish_many([*sent[:10], {"name": "order.placed", "payload": large, "key": "k1"}, *sent[10:]])
            await bus.drain(60)
            assert bus.counts.relays["out"].refused == 1
        found = faults(sent, await arrivals(broker))
        assert found.pop("repeated") <= 20 * 5  # the batch is sent again by halves
        assert found == {"lost": 0, "unknown": 0, "disorder": 0}
        assert rows(dsn, "select count(*) from event_store where status = 'dead'") == [(1,)]

    async def test_a_lost_acknowledgement_repeats_the_batch_and_loses_nothing(self, broker: Broker, dsn: str) -> None:
        async with Wire(broker.port) as wire:
            bus = bus_on(dsn)
            bus.relay("order.**", broker.to_url.format(port=wire.port), name="out", batch=10)
            sent = orders(10)
            async with working(bus):
                await bus.publish("order.placed", {"key": None}, event_id=(first := str(uuid4())))
                await bus.drain(SOON)
                with wire.losing_answers():
                    await bus.publish_many(sent)
                    await asyncio.wait_for(wire.passed.wait(), SOON)
                    async with asyncio.timeout(SOON):
                        while len(await broker.taken()) < 2:  # noqa: ASYNC110 - as in `until`
                            await asyncio.sleep(0.02)
                    assert rows(dsn, "select count(*) from event_consumers") == [(1,)]
                await bus.drain(60)
        found = faults([*sent, {"event_id": first}], await arrivals(broker))
        assert found.pop("repeated") <= (0 if broker.forgets_repeats else 10)
        assert found == {"lost": 0, "unknown": 0, "disorder": 0}


class IngestContract:
    """Messages come in."""

    @asynccontextmanager
    async def _taking(self, broker: Broker, dsn: str, **options: Any) -> AsyncIterator[tuple[EventBus, list[Event]]]:
        port = options.pop("port", broker.port)
        ingest = {name: options.pop(name) for name in ("tenant_id", "convert") if name in options}
        bus = bus_on(dsn, **options)
        bus.ingest(broker.from_url.format(port=port), name="in", **ingest)
        events: list[Event] = []

        async def keep(event: Event) -> None:
            events.append(event)

        bus.subscribe("**", keep, name="keep", retry=RetryPolicy(max_attempts=1))
        async with working(bus):
            yield bus, events

    async def test_messages_become_events_under_their_ids_in_their_order(self, broker: Broker, dsn: str) -> None:
        ids = [str(uuid4()) for _ in range(60)]
        async with self._taking(broker, dsn) as (bus, events):
            for number, event_id in enumerate(ids):
                body, headers = cloud_event(number, id=event_id, **{"ce-tenantid": "acme", "ce-color": "blue"})
                await broker.put(body, headers)
            await until(lambda: len(events) == 60 and bus.counts.ingests["in"].stored == 60)
        assert {str(event.id) for event in events} == set(ids)
        for key in {event.key for event in events}:
            places = [event.payload["place"] for event in events if event.key == key]
            assert places == sorted(places)
        assert {event.tenant_id for event in events} == {"acme"}
        assert dict(events[0].headers) == {"ce_source": "/shop", "ce_color": "blue"}

    async def test_the_same_message_twice_is_one_event(self, broker: Broker, dsn: str) -> None:
        body, headers = cloud_event(1)
        async with self._taking(broker, dsn) as (bus, events):
            for _ in range(3):
                await broker.put(body, headers)
            await until(lambda: bus.counts.ingests["in"].duplicates >= 2)  # what is not acknowledged soon comes again
            await bus.drain(SOON)
        assert len(events) == 1

    async def test_what_a_broker_brings_out_of_turn_and_again_is_stored_in_its_order_once(
        self, broker: Broker, dsn: str
    ) -> None:
        """Only the broker knows the order of a key: what arrives first is stored first, and a repeat moves nothing."""
        later, earlier = cloud_event(5), cloud_event(0)  # of one key
        for body, headers in (later, earlier, later):
            await broker.put(body, headers)
        async with self._taking(broker, dsn) as (bus, events):
            counts = bus.counts.ingests["in"]
            await until(lambda: counts.stored == 2 and counts.duplicates >= 1)  # more where it comes once more
            await bus.drain(SOON)
        places = [
            json.loads(payload)["place"] for (payload,) in rows(dsn, "select payload from event_log order by position")
        ]
        assert places == [1, 0]
        assert [event.payload["place"] for event in events] == [1, 0]

    async def test_an_id_that_is_no_uuid_is_mapped_and_kept(self, broker: Broker, dsn: str) -> None:
        body, headers = cloud_event(1, id="evt_1")
        async with self._taking(broker, dsn) as (bus, events):
            await broker.put(body, headers)
            await broker.put(body, headers)
            await until(lambda: bus.counts.ingests["in"].duplicates >= 1)
            await bus.drain(SOON)
        (event,) = events
        assert event.id == made_identity("/shop", "evt_1")
        assert event.headers["ce_id"] == "evt_1"

    async def test_plain_json_is_an_event_too(self, broker: Broker, dsn: str) -> None:
        async with self._taking(broker, dsn, tenant_id="acme") as (_, events):
            await broker.put(b'{"n": 1}', {})
            await until(lambda: events)
        assert events[0].payload == {"n": 1}
        assert events[0].tenant_id == "acme"

    @pytest.mark.parametrize(
        ("body", "headers", "why"),
        [
            (b"{", {}, "JSON"),
            (b"\xff\xfe\x00", {}, "JSON"),
            (b"{}", {"ce-specversion": "0.3", "ce-id": "1", "ce-source": "/", "ce-type": "a"}, "specversion"),
            (b"{}", {"ce-specversion": "1.0", "ce-source": "/", "ce-type": "a"}, "id is missing"),
            (b"{}", {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "a b"}, "name"),
            (b'{"specversion"', {"content-type": "application/cloudevents+json"}, "body"),
            (json.dumps("x" * 5000).encode(), {}, "5002 bytes"),
        ],
    )
    async def test_what_can_be_no_event_is_kept_and_holds_nobody_up(
        self, broker: Broker, dsn: str, body: bytes, headers: dict[str, str], why: str
    ) -> None:
        async with self._taking(broker, dsn, max_payload=4096) as (bus, events):
            await broker.put(*cloud_event(1))
            await broker.put(body, headers)
            await broker.put(*cloud_event(6))
            await until(lambda: len(events) == 3 and bus.counts.ingests["in"].refused == 1)
        (refused,) = [event for event in events if event.name == REFUSED_EVENT]
        assert why in refused.payload["reason"]
        assert refused.payload["size"] == len(body)
        assert refused.payload.get("body") in (None, body.decode(errors="replace"))
        assert len([event for event in events if event.name == "order.placed"]) == 2

    async def test_another_content_under_a_known_id_is_refused(self, broker: Broker, dsn: str) -> None:
        _, headers = cloud_event(1)
        async with self._taking(broker, dsn) as (bus, events):
            await broker.put(b'{"n": 1}', headers)
            await until(lambda: len(events) == 1)
            await broker.put(b'{"n": 2}', headers)
            await until(lambda: len(events) == 2 and bus.counts.ingests["in"].refused == 1)
        assert "other content" in events[1].payload["reason"]
        assert events[1].payload["body"] == '{"n": 2}'

    async def test_killed_and_started_again_in_mid_run_nothing_is_lost(self, broker: Broker, dsn: str) -> None:
        ids = [str(uuid4()) for _ in range(150)]
        async with self._taking(broker, dsn) as (bus, events):
            for number, event_id in enumerate(ids):
                await broker.put(*cloud_event(number, id=event_id))
                if number in (50, 100):
                    await until(lambda: not bus.counts.ingests["in"].is_away, 60)  # back from the time before
                    broker.kill()
                    await until(lambda: bus.counts.ingests["in"].is_away, 60)
                    broker.start()
            await until(lambda: len(events) == 150, 60)
            assert bus.counts.ingests["in"].outages >= 2
        for key in {event.key for event in events}:
            places = [event.payload["place"] for event in events if event.key == key]
            assert places == sorted(places)

    async def test_while_the_store_is_away_messages_wait_at_the_broker(
        self, broker: Broker, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "locked.db"
        async with self._taking(broker, f"sqlite:///{path}", store_timeout=0.2) as (bus, events):
            await broker.put(*cloud_event(0))
            await until(lambda: len(events) == 1)
            lock = sqlite3.connect(path, isolation_level=None)
            lock.execute("begin immediate")
            await broker.put(*cloud_event(1))
            await until(lambda: bus.ingests["in"].waits_for_store)
            lock.execute("rollback")
            lock.close()
            await until(lambda: len(events) == 2)

    async def test_slower_than_its_broker_an_ingest_takes_a_few_at_a_time_and_loses_nothing(
        self, broker: Broker, tmp_path: Any
    ) -> None:
        path = tmp_path / "slow.db"
        bus = bus_on(f"sqlite:///{path}", store_timeout=0.2)
        bus.ingest(f"{broker.from_url.format(port=broker.port)}&{broker.few}", name="in")
        counts, ids = bus.ingests["in"].counts, [str(uuid4()) for _ in range(60)]
        async with working(bus):
            await broker.put(*cloud_event(0, id=ids[0]))
            await until(lambda: counts.stored == 1)
            lock = sqlite3.connect(path, isolation_level=None)
            lock.execute("begin immediate")
            for number, event_id in enumerate(ids[1:], 1):
                await broker.put(*cloud_event(number, id=event_id))
            await until(lambda: bus.ingests["in"].waits_for_store)
            lock.execute("rollback")
            lock.close()
            await until(lambda: counts.stored == 60, 60)
        assert counts.batches.buckets[counts.batches.bounds.index(5) + 1 :] == [0] * 9  # never more than five
        found = rows(f"sqlite:///{path}", "select id, payload from event_log order by position")
        assert sorted(event_id for event_id, _ in found) == sorted(ids)
        for key in range(5):
            places = [its["place"] for _, payload in found if (its := json.loads(payload))["key"] == f"k{key}"]
            assert places == sorted(places)

    async def test_unreachable_at_the_start_it_begins_when_the_broker_is_there(
        self, broker: Broker, dsn: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await broker.put(*cloud_event(0))
        broker.kill()
        async with self._taking(broker, dsn) as (bus, events):
            await until(lambda: bus.counts.ingests["in"].outages >= 2, 60)
            broker.start()
            await until(lambda: len(events) == 1, 60)
        said = [record.getMessage() for record in caplog.records]
        assert [one for one in said if one.startswith("ingest 'in' waits: ")]
        assert "ingest 'in' goes on: the broker is back" in said

    async def test_a_refused_login_is_told_without_the_password(
        self, broker: Broker, dsn: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        if broker.refused_url is None:
            pytest.skip("this broker is set up without logins")
        await self._waits(broker, broker.refused_url, dsn, caplog)

    async def test_a_missing_place_is_told(self, broker: Broker, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
        if broker.missing_from_url is None:
            pytest.skip("here an ingest makes what is missing")
        await self._waits(broker, broker.missing_from_url, dsn, caplog)

    async def _waits(self, broker: Broker, url: str, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
        bus = bus_on(dsn, stop_timeout=0)
        bus.ingest(url.format(port=broker.port), name="in")
        async with working(bus):
            await until(lambda: errors(caplog), 60)
            assert bus.counts.ingests["in"].is_away
        assert errors(caplog)[0].startswith("ingest 'in' waits: ")
        assert "wrong-password" not in caplog.text

    async def test_what_a_worker_took_and_could_not_store_goes_to_the_next_one(
        self, broker: Broker, tmp_path: Any
    ) -> None:
        dsn = f"sqlite:///{tmp_path / 'locked.db'}"
        # It cannot say goodbye: its leases run out by themselves.
        async with self._taking(broker, dsn, store_timeout=0.2, stop_timeout=0.2, lease_ttl=1) as (bus, events):
            await broker.put(*cloud_event(0))
            await until(lambda: len(events) == 1)
            await bus.drain(SOON)
            lock = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
            lock.execute("begin immediate")
            await broker.put(*cloud_event(1))
            await until(lambda: bus.ingests["in"].waits_for_store)
            await bus.close()
            lock.execute("rollback")
            lock.close()
        async with self._taking(broker, dsn, lease_ttl=1) as (_, events):
            await until(lambda: len(events) == 1, 60)

    async def test_a_lost_acknowledgement_brings_the_message_again_and_no_second_event(
        self, broker: Broker, dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stored, and the worker loses its broker before it can say so."""
        async with self._taking(broker, dsn) as (bus, events):
            ingest = bus.ingests["in"]
            make, failed = ingest._source, []

            def unlucky() -> Any:
                source = make()
                acknowledge = source.acknowledge

                async def once(messages: Any) -> None:
                    if not failed:
                        failed.append(messages)
                        raise BrokerUnreachable("the broker", "cut before the acknowledgement")
                    await acknowledge(messages)

                source.acknowledge = once
                return source

            monkeypatch.setattr(ingest, "_source", unlucky)
            broker.kill()  # so that the source before ends
            await until(lambda: ingest.counts.is_away, 60)
            broker.start()
            await broker.put(*cloud_event(1))
            await until(lambda: ingest.counts.duplicates >= 1, 60)
            await bus.drain(SOON)
        assert failed
        assert len(events) == 1

    async def test_one_worker_takes_and_another_takes_over(self, broker: Broker, dsn: str) -> None:
        async with self._taking(broker, dsn) as (first, events):
            await broker.put(*cloud_event(0))
            await until(lambda: len(events) == 1)
            second = bus_on(dsn)
            second.ingest(broker.from_url.format(port=broker.port), name="in")
            async with working(second):
                for number in range(1, 30):
                    await broker.put(*cloud_event(number))
                await until(lambda: len(events) == 30)
                await first.close()
                for number in range(30, 60):
                    await broker.put(*cloud_event(number))
                await until(lambda: rows(dsn, "select count(*) from event_log") >= [(60,)], 60)
        assert rows(dsn, "select count(*) from event_log") == [(60,)]
        for key in {f"k{n}" for n in range(5)}:
            found = [json.loads(payload)["place"] for (payload,) in rows(
                dsn, f"select payload from event_log where event_key = '{key}' order by position")]  # fmt: skip
            assert found == sorted(found)


class ServicesContract:
    """Two services on two databases: exactly one effect for each event, from end to end."""

    async def test_every_event_has_one_effect_though_everything_is_killed(
        self, broker: Broker, dsn: str, other_dsn: str
    ) -> None:
        shop, books = bus_on(dsn), bus_on(other_dsn)
        shop.relay("order.**", broker.to_url.format(port=broker.port), name="out", batch=20)
        books.ingest(broker.from_url.format(port=broker.port), name="in")
        with psycopg.connect(other_dsn, autocommit=True) as connection:
            connection.execute("create table public.booked (id uuid, key text, place int, at bigserial)")

        async def book(event: Event, delivery: Any) -> None:
            await delivery.connection.execute(
                "insert into public.booked (id, key, place) values (%s, %s, %s)",
                (event.id, event.key, event.payload.get("place")),
            )

        books.subscribe("order.**", book, name="books", transactional=True)
        sent = orders(600)
        async with working(shop, books):
            for start in range(0, 600, 100):
                await shop.publish_many(sent[start : start + 100])
                if start == 200:
                    await until(lambda: books.counts.ingests["in"].stored > 50)
                    broker.kill()
                    # Something to send, as all of it may have gone before.
                    await shop.publish("order.placed", {"key": None}, event_id=(late := str(uuid4())))
                    sent.append({"event_id": late})
                    await until(lambda: shop.counts.relays["out"].is_away and books.counts.ingests["in"].is_away, 60)
                    broker.start()
            await shop.drain(60)
            await until(lambda: books.counts.ingests["in"].stored == 601, 60)
            await books.drain(60)
        with psycopg.connect(other_dsn) as connection:
            booked = connection.execute("select id, key, place from public.booked order by at").fetchall()
        assert Counter(str(event_id) for event_id, _, _ in booked) == Counter(item["event_id"] for item in sent)
        for key in {key for _, key, _ in booked if key is not None}:
            places = [place for _, its, place in booked if its == key]
            assert places == sorted(places)
