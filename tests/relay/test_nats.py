"""NATS JetStream on a nats-server of the tests' own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import nats
import pytest
from click.testing import CliRunner
from nats.aio.client import Client
from nats.js import api

from holdfast.cli import main
from holdfast.relay.cloudevents import quoted, unquoted
from tests.bus.waiting import until_sync
from tests.relay.contract import (
    SOON,
    IngestContract,
    RelayContract,
    ServicesContract,
    Taken,
    arrivals,
    bus_on,
    cloud_event,
    faults,
    orders,
    rows,
    until,
    working,
)
from tests.relay.servers import Server, program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STREAM = "shop"


class NatsServer(Server):
    """With JetStream, a small limit of messages, and a user beside one who may do nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "nats.conf").write_text(
            f'listen: "127.0.0.1:{self.port}"\nmax_payload: 262144\n'
            f'jetstream {{ store_dir: "{folder / "data"}", max_memory_store: 64MB, max_file_store: 1GB }}\n'
            "authorization { users: [ {user: shop, password: right-password},"
            " {user: guest, password: guest-password, permissions: {publish: [nothing], subscribe: [_INBOX.>]}} ] }\n"
        )

    def command(self) -> list[str]:
        return [program("nats-server", "/usr/sbin/nats-server"), "-c", str(self.folder / "nats.conf")]

    def is_ready(self) -> bool:
        return self._answers(b"", b"INFO")


class NatsBroker(NatsServer):
    limit = 262_144
    forgets_repeats = True
    to_url = f"nats://shop:right-password@127.0.0.1:{{port}}/{STREAM}?timeout=3"
    from_url = f"{to_url}&ack_wait=2"
    few = "batch=5"
    missing_url = missing_from_url = to_url.replace(f"/{STREAM}?", "/nowhere?")
    refused_url = to_url.replace("right-password", "wrong-password")

    def url(self) -> str:
        return f"nats://shop:right-password@127.0.0.1:{self.port}"

    async def prepare(self, **config: Any) -> None:
        client = await nats.connect(self.url())
        await client.jetstream().add_stream(api.StreamConfig(name=STREAM, subjects=[f"{STREAM}.>"], **config))
        await client.close()

    async def taken(self) -> list[Taken]:
        client = await nats.connect(self.url())
        stream = client.jetstream()
        count = (await stream.stream_info(STREAM)).state.messages
        found = []
        if count:
            reader = await stream.subscribe(f"{STREAM}.>", ordered_consumer=True)
            for _ in range(count):
                message = await reader.next_msg(timeout=5)
                headers = {name.lower(): unquoted(value) for name, value in (message.headers or {}).items()}
                found.append(Taken(headers["nats-msg-id"], headers.get("ce-partitionkey"), message.data, headers))
        await client.close()
        return found

    async def put(self, body: bytes, headers: Mapping[str, str], *, name: str = "order.placed") -> None:
        for _ in range(100):
            client = Client()
            try:
                await client.connect(self.url(), allow_reconnect=False, error_cb=_quiet)
                await client.jetstream().publish(
                    f"{STREAM}.{name}", body, headers={one: quoted(value) for one, value in headers.items()} or None
                )
            except (nats.errors.Error, OSError):
                await asyncio.sleep(0.05)  # it is just starting
            else:
                return
            finally:
                await client.close()
        raise AssertionError("the broker does not take anything")


async def _quiet(error: Exception) -> None:
    """The client would print it."""


@pytest.fixture
async def broker(tmp_path: Path) -> Any:
    with NatsBroker(tmp_path / "nats") as server:
        await server.prepare()
        yield server


class TestRelay(RelayContract):
    pass


class TestIngest(IngestContract):
    pass


class TestServices(ServicesContract):
    pass


async def test_an_ingest_that_begins_now_takes_what_comes_while_it_is_away_and_nothing_from_before(
    broker: NatsBroker, dsn: str
) -> None:
    """Also where nothing had come yet when it went away."""
    await broker.put(*cloud_event(1))
    address = f"{broker.from_url.format(port=broker.port)}&start=now&consumer=late"
    client = await nats.connect(broker.url())
    for _ in range(2):
        bus = bus_on(dsn)
        bus.ingest(address, name="in")
        async with working(bus):
            async with asyncio.timeout(SOON):
                while not await _is_bound(client, "late"):  # noqa: ASYNC110 - nothing tells it
                    await asyncio.sleep(0.02)
    await client.close()
    await broker.put(*cloud_event(2))
    bus = bus_on(dsn)
    bus.ingest(address, name="in")
    async with working(bus):
        await until(lambda: bus.counts.ingests["in"].stored == 1)
    assert rows(dsn, "select count(*) from event_log") == [(1,)]


async def _is_bound(client: Client, consumer: str) -> bool:
    try:
        return bool((await client.jetstream().consumer_info(STREAM, consumer)).push_bound)
    except nats.js.errors.NotFoundError:
        return False


async def test_a_message_with_a_header_of_the_protocol_is_one_as_any_other(broker: NatsBroker, dsn: str) -> None:
    body, headers = cloud_event(1)
    bus = bus_on(dsn)
    bus.ingest(broker.from_url.format(port=broker.port), name="in")
    async with working(bus):
        await broker.put(body, {**headers, "Status": "100"})
        await until(lambda: bus.counts.ingests["in"].stored == 1)


async def test_a_stream_that_is_full_makes_events_wait_and_kills_none(tmp_path: Path, dsn: str) -> None:
    with NatsBroker(tmp_path / "nats") as server:
        await server.prepare(max_msgs=5, discard=api.DiscardPolicy.NEW)
        bus = bus_on(dsn)
        bus.relay("order.**", server.to_url.format(port=server.port), name="out")
        sent = orders(20)
        async with working(bus):
            await bus.publish_many(sent)
            await until(lambda: bus.counts.relays["out"].outages >= 2)
            assert rows(dsn, "select count(*) from deliveries") == [(0,)]
            client = await nats.connect(server.url())
            stream = client.jetstream()
            await stream.update_stream(api.StreamConfig(name=STREAM, subjects=[f"{STREAM}.>"], max_msgs=1000))
            await client.close()
            await bus.drain(SOON)
        found = faults(sent, await arrivals(server))
        assert (found["lost"], found["repeated"], found["disorder"]) == (0, 0, 0)


async def test_a_message_over_the_stream_s_own_limit_is_dead_at_once(
    tmp_path: Path, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with NatsBroker(tmp_path / "nats") as server:
        await server.prepare(max_msg_size=2000)
        bus = bus_on(dsn)
        bus.relay("order.**", server.to_url.format(port=server.port), name="out")
        async with working(bus):
            await bus.publish("order.placed", {"key": None, "filler": "x" * 3000}, key="k")
            await bus.publish("order.placed", {"key": None}, key="k")
            await bus.drain(SOON)
        assert len(await server.taken()) == 1
        assert rows(dsn, "select count(*) from event_store where status = 'dead'") == [(1,)]
        (told,) = [record.getMessage() for record in caplog.records if record.name == "holdfast.worker"]
        assert "is dead at attempt 1" in told
        assert "max_msg_size of 2000" in told


async def test_a_stream_that_vanishes_in_mid_run_is_told_and_nothing_dies(
    tmp_path: Path, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with NatsBroker(tmp_path / "nats") as server:
        await server.prepare()
        bus = bus_on(dsn)
        bus.relay("order.**", server.to_url.format(port=server.port), name="out")
        async with working(bus):
            await bus.publish("order.placed", {"key": None})
            await bus.drain(SOON)
            client = await nats.connect(server.url())
            await client.jetstream().delete_stream(STREAM)
            await client.close()
            await bus.publish("order.placed", {"key": None})
            await until(lambda: bus.counts.relays["out"].outages >= 2)
            await server.prepare()
            await bus.drain(SOON)
        assert len(await server.taken()) == 1
        assert rows(dsn, "select count(*) from deliveries") == [(0,)]
    assert "no stream takes what is published" in caplog.text


async def test_a_consumer_that_is_removed_by_hand_is_made_again_and_brings_nothing_twice(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.relay import nats as leaf

    monkeypatch.setattr(leaf, "_HEARTBEAT_SECONDS", 0.3)
    with NatsBroker(tmp_path / "nats") as server:
        await server.prepare()
        bus = bus_on(dsn)
        bus.ingest(server.from_url.format(port=server.port), name="in")
        async with working(bus):
            counts = bus.counts.ingests["in"]
            for number in range(5):
                await server.put(*cloud_event(number))
            await until(lambda: counts.stored == 5)
            client = await nats.connect(server.url())
            await client.jetstream().delete_consumer(STREAM, "in")
            await client.close()
            await until(lambda: counts.outages >= 1)
            await server.put(*cloud_event(5))
            await until(lambda: counts.stored == 6)
            assert counts.duplicates >= 5  # more where an acknowledgement took longer than `ack_wait`
        assert rows(dsn, "select count(*) from event_log") == [(6,)]


async def test_a_login_without_rights_is_told_as_such(
    tmp_path: Path, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with NatsBroker(tmp_path / "nats") as server:
        await server.prepare()
        url = server.to_url.replace("shop:right-password", "guest:guest-password").format(port=server.port)
        bus = bus_on(dsn)
        bus.relay("order.**", url, name="out")
        async with working(bus):
            await bus.publish("order.placed", {"key": None})
            await until(lambda: bus.counts.relays["out"].outages >= 1)
        assert "the user needs rights for the subjects" in caplog.text


def test_the_command_line_lists_relays_and_tries_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with NatsBroker(tmp_path / "nats") as server:
        asyncio.run(server.prepare())
        url = server.to_url.format(port=server.port)
        (tmp_path / "wired.py").write_text(
            "from holdfast import EventBus\n"
            f'bus = EventBus("sqlite:///{tmp_path}/shop.db")\n'
            f'bus.relay("order.**", "{url}")\n'
            f'bus.relay("order.**", "{server.refused_url.format(port=server.port)}", name="locked-out")\n'
            f'bus.ingest("{url}")\n'
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        where = f"nats://127.0.0.1:{server.port}/shop"
        run = CliRunner().invoke
        listed = run(main, ["relay", "list", "wired:bus", "--json"])
        assert json.loads(listed.output) == [
            {"name": "relay:nats:shop", "patterns": "order.**", "to": where},
            {"name": "locked-out", "patterns": "order.**", "to": where},
        ]

        def refused() -> Any:
            """A server that refuses a login may reset the connection before its reason is read: the next try has it."""
            checked = run(main, ["relay", "check", "wired:bus"])
            assert checked.exit_code == 1
            assert checked.output.splitlines()[0] == f"relay:nats:shop: {where} answers"
            return checked if "the login is refused" in checked.output else None

        checked = until_sync(refused)
        assert "password" not in checked.output.replace("give user and password", "")
        assert "ingest:nats:shop" in run(main, ["ingest", "list", "wired:bus"]).output
        assert run(main, ["ingest", "check", "wired:bus"]).output == f"ingest:nats:shop: {where} answers\n"
        server.kill()
        assert "cannot be reached" in run(main, ["ingest", "check", "wired:bus"]).output
