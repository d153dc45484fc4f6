"""The leaf for Redis Streams, on a real server."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessageRefused
from tests.relay.leaves import (
    DestinationContract,
    FaultContract,
    Place,
    SourceContract,
    Taken,
    destination,
    message,
    source,
    take,
)
from tests.relay.servers import RedisServer

redis = pytest.importorskip("redis.asyncio", reason="pip install 'holdfast[redis]'")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Stream(Place):
    kind = "redis"

    def __init__(self, server: RedisServer, login: str = "") -> None:
        from holdfast.relay import redis as module

        self.module, self.server, self.name, self.login = module, server, f"orders-{uuid4().hex[:8]}", login
        self.client = redis.Redis(port=server.port)

    @property
    def url(self) -> str:
        return f"redis://{self.login}127.0.0.1:{self.server.port}/{self.name}"

    async def taken(self) -> list[Taken]:
        return [
            Taken(
                fields[b"id"].decode(),
                fields[b"body"],
                {
                    name.decode().removeprefix("ce-"): value.decode()
                    for name, value in fields.items()
                    if name != b"body"
                },
            )
            for _, fields in await self.client.xrange(self.name)
        ]

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as running:
        yield running


@pytest.fixture
async def place(server: RedisServer) -> AsyncIterator[Stream]:
    server.start()
    stream = Stream(server)
    yield stream
    await stream.client.aclose()


class TestOut(DestinationContract):
    async def test_a_batch_is_there_whole_or_not_at_all(self, place: Stream) -> None:
        to = destination(place)
        await to.send([message(1, "key")])
        with pytest.raises(MessageRefused) as caught:
            await to.send([message(2, "key"), message(3, "key", body=b"x" * 1_100_000), message(4, "key")])
        assert caught.value.message_id == "00000003"
        assert caught.value.final
        await to.send([message(2, "key"), message(4, "key")])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001", "00000002", "00000004"]

    async def test_a_wrong_password_is_refused(self, place: Stream) -> None:
        place.login = "alice:swordfish@"
        to = destination(place)
        with pytest.raises(BrokerRefused, match="password") as caught:
            await to.send([message(1)])
        await to.close()
        assert "swordfish" not in str(caught.value)

    async def test_a_user_without_rights_is_refused(self, place: Stream) -> None:
        await place.client.acl_setuser("reader", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@read"])
        place.login = "reader:secret@"
        to = destination(place)
        with pytest.raises(BrokerRefused, match="may not"):
            await to.send([message(1)])
        await to.close()

    async def test_a_missing_stream_is_made_or_refused(self, place: Stream) -> None:
        strict = destination(place, "create=no")
        with pytest.raises(BrokerRefused, match="no stream"):
            await strict.send([message(1, "key")])
        to = destination(place)
        await to.send([message(1, "key")])
        await strict.send([message(2, "key")])
        await strict.close()
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001", "00000002"]

    async def test_a_key_of_another_kind_is_refused(self, place: Stream) -> None:
        await place.client.set(place.name, "a text")
        to = destination(place)
        with pytest.raises(BrokerRefused, match="not a stream"):
            await to.send([message(1)])
        await to.close()

    async def test_no_memory_left_is_waited_out(self, place: Stream) -> None:
        to = destination(place)
        await to.send([message(1, "key")])
        await place.client.config_set("maxmemory", "1")
        try:
            with pytest.raises(BrokerUnreachable, match="memory"):
                await to.send([message(2, "key")])
        finally:
            await place.client.config_set("maxmemory", "0")
        await to.send([message(2, "key")])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001", "00000002"]

    async def test_a_replica_is_waited_out(self, place: Stream) -> None:
        to = destination(place)
        await place.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(BrokerUnreachable, match="replica"):
                await to.send([message(1)])
        finally:
            await place.client.execute_command("REPLICAOF", "NO", "ONE")
        await to.close()

    async def test_a_frozen_server_is_given_up_on_and_found_again(self, place: Stream) -> None:
        to = destination(place, "timeout=1")
        await to.send([message(1, "key")])
        place.server.freeze()
        try:
            with pytest.raises(BrokerUnreachable, match="no answer within 1 s"):
                await to.send([message(2, "key"), message(3, "key")])
        finally:
            place.server.thaw()
        await to.send([message(2, "key"), message(3, "key")])
        await to.close()
        ids = list(dict.fromkeys(one.id for one in await place.taken()))
        assert ids == ["00000001", "00000002", "00000003"]

    async def test_settings_that_lose_are_warned_of(self, place: Stream, caplog: pytest.LogCaptureFixture) -> None:
        await place.client.config_set("appendonly", "no")
        await place.client.config_set("maxmemory-policy", "allkeys-lru")
        to = destination(place)
        try:
            with caplog.at_level(logging.WARNING, "holdfast.relay"):
                await to.send([message(1)])
        finally:
            await place.client.config_set("appendonly", "yes")
            await place.client.config_set("maxmemory-policy", "noeviction")
        await to.close()
        assert "append-only" in caplog.text
        assert "evict" in caplog.text

    async def test_maxlen_keeps_the_stream_short(self, place: Stream) -> None:
        to = destination(place, "maxlen=100")
        for begin in range(0, 1000, 100):
            await to.send([message(number) for number in range(begin, begin + 100)])
        await to.close()
        assert 100 <= await place.client.xlen(place.name) < 400


class TestIn(SourceContract):
    async def refused_is_kept(self, place: Place) -> None:
        assert isinstance(place, Stream)
        ((_, fields),) = await place.client.xrange(f"{place.name}:refused")
        assert fields[b"id"] == b"00000002"
        assert fields[b"refused-reason"] == b"not JSON"

    async def test_one_at_a_time_has_entries_in_hand(self, place: Stream) -> None:
        to = destination(place)
        await to.send([message(number, "key") for number in range(20)])
        first, second = source(place, "prefetch=10"), source(place, "prefetch=10")
        batches = first.receive()
        held = await anext(batches)
        taking = asyncio.create_task(take(second, 10))
        done, _ = await asyncio.wait([taking], timeout=1.5)
        assert not done
        await first.acknowledge(held)
        await batches.aclose()  # type: ignore[attr-defined]
        later = await taking
        assert [one.headers["ce-id"] for one in later] == [f"{number:08d}" for number in range(10, 20)]
        for one in (first, second):
            await one.close()
        await to.close()

    async def test_what_a_vanished_worker_held_comes_before_later_entries(self, place: Stream) -> None:
        to = destination(place)
        await to.send([message(number, "key") for number in range(20)])
        vanished = source(place, "prefetch=10")
        await anext(vanished.receive())
        other = source(place, "claim=0.3")
        taken = await take(other, 20)
        await other.close()
        await vanished.close()
        await to.close()
        assert [one.headers["ce-id"] for one in taken] == [f"{number:08d}" for number in range(20)]

    async def test_a_group_removed_by_hand_is_said_and_made_anew(self, place: Stream) -> None:
        to = destination(place)
        await to.send([message(number, "key") for number in range(5)])
        by = source(place)
        batches = by.receive()
        await by.acknowledge(await anext(batches))
        await place.client.xgroup_destroy(place.name, "ingest:test")
        with pytest.raises(BrokerRefused, match="group was removed"):
            await anext(batches)
        await by.close()
        again = source(place)
        assert len(await take(again, 5)) == 5
        await again.close()
        await to.close()

    async def test_a_consumer_removed_by_hand_goes_on_and_what_it_had_in_hand_is_not_stored_twice(
        self, place: Stream
    ) -> None:
        to = destination(place)
        await to.send([message(number, "key") for number in range(5)])
        by = source(place)
        batches = by.receive()
        held = await anext(batches)
        (consumer,) = await place.client.xinfo_consumers(place.name, "ingest:test")
        await place.client.xgroup_delconsumer(place.name, "ingest:test", consumer["name"])
        await by.acknowledge(held)
        await to.send([message(5, "key")])
        async with asyncio.timeout(60):
            after = await anext(batches)
        await by.acknowledge(after)
        assert [one.headers["ce-id"] for one in (*held, *after)] == [f"{number:08d}" for number in range(6)]
        await batches.aclose()  # type: ignore[attr-defined]
        await by.close()
        await to.close()

    async def test_a_consumer_that_leaves_with_empty_hands_is_forgotten(self, place: Stream) -> None:
        to = destination(place)
        await to.send([message(number, "key") for number in range(5)])
        by = source(place)
        await take(by, 5)
        await by.close()
        await to.close()
        (group,) = await place.client.xinfo_groups(place.name)
        assert (group["consumers"], group["pending"]) == (0, 0)

    async def test_entries_trimmed_while_in_hand_are_told(
        self, place: Stream, caplog: pytest.LogCaptureFixture
    ) -> None:
        to = destination(place)
        await to.send([message(number, "key") for number in range(5)])
        vanished = source(place, "prefetch=2")
        await anext(vanished.receive())
        await place.client.xtrim(place.name, maxlen=4, approximate=False)
        other = source(place, "claim=0.2&prefetch=2")
        with caplog.at_level(logging.ERROR, "holdfast.relay"):
            taken = await take(other, 4)
        for one in (other, vanished):
            await one.close()
        await to.close()
        assert [one.headers["ce-id"] for one in taken] == [f"{number:08d}" for number in range(1, 5)]

    async def test_a_foreign_entry_without_a_body_is_an_empty_message(self, place: Stream) -> None:
        await place.client.xadd(place.name, {"colour": "red"})
        by = source(place)
        (foreign,) = await take(by, 1)
        await by.close()
        assert foreign.body == b""
        assert foreign.headers == {"colour": "red"}
        assert foreign.id is not None
        assert foreign.id.startswith(f"{place.name}/")

    async def test_a_wrong_password_is_refused(self, place: Stream) -> None:
        place.login = "alice:swordfish@"
        by = source(place)
        with pytest.raises(BrokerRefused, match="password"):
            await take(by, 1)
        await by.close()


async def test_a_user_needs_the_rights_that_the_page_names_and_no_more(place: Stream) -> None:
    page = (Path(__file__).parents[2] / "docs" / "relay-redis.md").read_text("utf-8")
    section = page.partition("## What the user needs")[2].partition("\n## ")[0]
    sends, takes = ([word for word in one.split() if word.startswith("+")] for one in section.split("`")[1:4:2])
    for name, commands, keys in (
        ("sender", sends, [place.name]),
        ("taker", takes, [place.name, f"{place.name}:refused"]),
    ):
        await place.client.acl_setuser(name, enabled=True, passwords=["+secret"], keys=keys, commands=commands)
    place.login = "sender:secret@"
    to = destination(place)
    await to.send([])
    await to.send([message(number, "key") for number in range(2)])
    await to.close()
    place.login = "taker:secret@"
    by = source(place)
    await by.check()
    batches = by.receive()
    first, second = await anext(batches)
    await by.acknowledge([first])
    await by.refuse(second, "not JSON")
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.wait([waiting], timeout=0.3)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await by.close()
    (group,) = await place.client.xinfo_groups(place.name)
    assert (group["consumers"], group["pending"]) == (0, 0)


class TestFaults(FaultContract):
    kills = 3


def test_several_servers_are_refused(server: RedisServer) -> None:
    from holdfast.relay import redis as module
    from holdfast.relay.address import parse_address

    with pytest.raises(ConfigurationError, match="one server"):
        module.destination(parse_address("redis://a,b/orders"))
