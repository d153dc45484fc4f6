"""The leaf for RabbitMQ, on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessageRefused
from tests.relay.contract import until
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
from tests.relay.servers import RabbitServer

aio_pika = pytest.importorskip("aio_pika", reason="pip install 'holdfast[amqp]'")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# A node takes ten seconds to start on a quiet machine.
pytestmark = pytest.mark.timeout(400)


class Queue(Place):
    kind = "amqp"

    def __init__(self, server: RabbitServer) -> None:
        from holdfast.relay import amqp as module

        self.module, self.server, self.name = module, server, f"orders-{uuid4().hex[:8]}"
        self.login = self.options = ""
        self.type = "classic"
        self._connection: Any = None

    @property
    def url(self) -> str:
        return f"amqp://{self.login}127.0.0.1:{self.server.port}/{self.name}" + (
            f"?{self.options}" if self.options else ""
        )

    async def channel(self) -> Any:
        if self._connection is None or self._connection.is_closed:
            self._connection = await aio_pika.connect(port=self.server.port, host="127.0.0.1")
        return await self._connection.channel()

    async def declare(self, **arguments: Any) -> None:
        channel = await self.channel()
        await channel.declare_queue(self.name, durable=True, arguments={"x-queue-type": self.type, **arguments})

    async def taken(self, name: str | None = None) -> list[Taken]:
        queue = await (await self.channel()).get_queue(name or self.name)
        found = []
        while one := await queue.get(fail=False, no_ack=True):
            headers = {header.removeprefix("cloudEvents_"): str(value) for header, value in one.headers.items()}
            found.append(Taken(one.message_id, one.body, headers))
        return found

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with RabbitServer(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture
async def place(server: RabbitServer) -> AsyncIterator[Queue]:
    server.start()
    queue = Queue(server)
    await queue.declare()
    yield queue
    await queue.close()


class TestOut(DestinationContract):
    async def test_a_message_over_the_limit_is_named_and_its_neighbours_arrive(self, place: Queue) -> None:
        to = destination(place)
        with pytest.raises(MessageRefused, match="max_message_size") as caught:
            await to.send([message(1, "a"), message(2, "b", body=b"x" * 300_000), message(3, "c")])
        assert caught.value.message_id == "00000002"
        assert caught.value.final
        await to.send([message(1, "a"), message(3, "c")])
        await to.close()
        assert {one.id for one in await place.taken()} == {"00000001", "00000003"}

    async def test_a_batch_beside_one_with_an_error_is_not_harmed(self, place: Queue) -> None:
        to = destination(place)
        good = [message(number, f"key-{number}") for number in range(100)]
        outcomes = await asyncio.gather(
            to.send([message(200, body=b"x" * 300_000)]), to.send(good), return_exceptions=True
        )
        await to.close()
        assert isinstance(outcomes[0], MessageRefused)
        assert outcomes[1] is None
        assert len(await place.taken()) == 100

    async def test_a_full_queue_nacks_and_the_order_of_a_key_is_kept(self, place: Queue) -> None:
        place.name += "-full"
        await place.declare(**{"x-max-length": 3, "x-overflow": "reject-publish"})
        to = destination(place)
        sent = [message(number, "key") for number in range(10)]
        with pytest.raises(MessageRefused, match="nacked") as caught:
            await to.send(sent)
        assert not caught.value.final
        before = [one.id for one in await place.taken()]
        assert before == [one.id for one in sent[: len(before)]], "a later one passed an earlier one"
        assert caught.value.message_id == sent[len(before)].id
        await to.close()

    async def test_a_queue_that_is_full_now_and_then_keeps_the_order_of_a_key(self, place: Queue) -> None:
        place.name += "-narrow"
        await place.declare(**{"x-max-length": 1, "x-overflow": "reject-publish"})
        arrived: list[str] = []
        channel = await place.channel()
        await channel.set_qos(prefetch_count=1)
        queue = await channel.get_queue(place.name)

        async def keep(one: Any) -> None:
            arrived.append(one.message_id)
            await one.ack()

        await queue.consume(keep)
        to, left = destination(place), [message(number, "key") for number in range(100)]
        async with asyncio.timeout(60):
            while left:
                try:
                    await to.send(left)
                    left = []
                except MessageRefused as error:
                    left = left[next(at for at, one in enumerate(left) if one.id == error.message_id) :]
        await to.close()
        await until(lambda: len(set(arrived)) == 100)
        assert list(dict.fromkeys(arrived)) == sorted(set(arrived))

    async def test_a_missing_queue_is_refused_until_it_is_there(self, place: Queue) -> None:
        place.name += "-missing"
        to = destination(place)
        with pytest.raises(BrokerRefused, match="no queue"):
            await to.send([message(1, "key"), message(2, "key")])
        await place.declare()
        await to.send([message(1, "key"), message(2, "key")])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001", "00000002"]

    @pytest.mark.parametrize("kind", ["classic", "quorum"])
    async def test_it_declares_the_queue_if_told_so(self, place: Queue, kind: str) -> None:
        place.name += "-made"
        to = destination(place, f"declare={kind}")
        await to.send([message(1, "key")])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001"]

    async def test_a_queue_declared_otherwise_is_refused(self, place: Queue) -> None:
        to = destination(place, "declare=quorum")
        with pytest.raises(BrokerRefused, match="declared otherwise"):
            await to.send([message(1)])
        await to.close()

    async def test_an_exchange_routes_by_the_name_of_the_event(self, place: Queue) -> None:
        channel = await place.channel()
        exchange = await channel.declare_exchange(f"{place.name}-events", "topic", durable=True)
        queue = await channel.get_queue(place.name)
        place.name, bound = exchange.name, place.name
        to = destination(place, "type=exchange")
        with pytest.raises(MessageRefused, match="no binding") as caught:
            await to.send([message(1)])
        assert not caught.value.final
        await queue.bind(exchange, "order.*")
        await to.send([message(1)])
        await to.close()
        assert [one.id for one in await place.taken(bound)] == ["00000001"]

    async def test_a_missing_exchange_is_refused(self, place: Queue) -> None:
        to = destination(place, "type=exchange")
        with pytest.raises(BrokerRefused, match="there is no"):
            await to.send([message(1), message(2)])
        await to.close()

    async def test_a_wrong_password_is_refused(self, place: Queue) -> None:
        place.login = "alice:swordfish@"
        to = destination(place)
        with pytest.raises(BrokerRefused, match="password") as caught:
            await to.send([message(1)])
        await to.close()
        assert "swordfish" not in str(caught.value)

    async def test_a_virtual_host_that_there_is_not_is_refused(self, place: Queue) -> None:
        to = destination(place, "vhost=nowhere")
        with pytest.raises(BrokerRefused, match="virtual host 'nowhere'"):
            await to.send([message(1)])
        await to.close()

    async def test_a_frozen_server_is_given_up_on_and_found_again(self, place: Queue) -> None:
        to = destination(place, "timeout=2")
        await to.send([message(1, "key")])
        place.server.freeze()
        try:
            with pytest.raises(BrokerUnreachable, match="no answer within 2 s"):
                await to.send([message(2, "key"), message(3, "key")])
        finally:
            place.server.thaw()
        await to.send([message(2, "key"), message(3, "key")])
        await to.close()
        ids = list(dict.fromkeys(one.id for one in await place.taken()))
        assert ids == ["00000001", "00000002", "00000003"]

    async def test_messages_are_persistent_and_carry_the_id(self, place: Queue) -> None:
        to = destination(place)
        await to.send([message(1, "key")])
        await to.close()
        queue = await (await place.channel()).get_queue(place.name)
        one = await queue.get(no_ack=True)
        assert (one.delivery_mode, one.message_id, one.type) == (2, "00000001", "order.placed")
        assert one.headers["cloudEvents_type"] == "order.placed"

    def test_an_exchange_is_not_declared(self, place: Queue) -> None:
        with pytest.raises(ConfigurationError, match="declare="):
            destination(place, "type=exchange&declare=quorum")


class TestIn(SourceContract):
    async def refused_is_kept(self, place: Place) -> None:
        assert isinstance(place, Queue)
        (kept,) = await place.taken(f"{place.name}.refused")
        assert kept.id == "00000002"
        assert kept.headers["x-refused-reason"] == "not JSON"

    @pytest.mark.parametrize("kind", ["classic", "quorum"])
    async def test_a_second_one_stands_by(self, place: Queue, kind: str) -> None:
        place.name, place.type = f"{place.name}-{kind}", kind
        await place.declare()
        to = destination(place)
        await to.send([message(number, "key") for number in range(20)])
        first, second = source(place, "prefetch=10"), source(place, "prefetch=10")
        batches = first.receive()
        held = await anext(batches)
        taking = asyncio.create_task(take(second, 20 - len(held)))
        done, _ = await asyncio.wait([taking], timeout=1.5)
        assert not done
        await first.acknowledge(held)
        await batches.aclose()  # type: ignore[attr-defined]
        await first.close()
        later = await taking
        assert [one.headers["ce-id"] for one in later] == [f"{number:08d}" for number in range(len(held), 20)]
        await second.close()
        await to.close()

    async def test_a_queue_removed_by_hand_is_said(self, place: Queue) -> None:
        by = source(place, "timeout=1")
        taking = asyncio.create_task(take(by, 1))
        channel = await place.channel()
        for _ in range(1000):
            queue = await channel.declare_queue(place.name, passive=True)
            if queue.declaration_result.consumer_count:
                break
            await asyncio.sleep(0.02)
        await channel.queue_delete(place.name)
        with pytest.raises(BrokerRefused, match="there is no"):
            await taking
        await by.close()

    async def test_a_missing_queue_is_refused_or_declared(self, place: Queue) -> None:
        place.name += "-missing"
        by = source(place)
        with pytest.raises(BrokerRefused, match="there is no"):
            await take(by, 1)
        await by.close()
        by, to = source(place, "declare=quorum"), destination(place, "declare=quorum")
        await to.send([message(1)])
        assert len(await take(by, 1)) == 1
        await by.close()
        await to.close()

    async def test_a_wrong_password_is_refused(self, place: Queue) -> None:
        place.login = "alice:swordfish@"
        by = source(place)
        with pytest.raises(BrokerRefused, match="password"):
            await take(by, 1)
        await by.close()

    async def test_a_foreign_message_comes_with_what_it_has(self, place: Queue) -> None:
        channel = await place.channel()
        foreign = aio_pika.Message(b"\xff\x00", headers={"Number": 3, "list": [1, 2], "cloudEvents:type": "a.b"})
        await channel.default_exchange.publish(foreign, place.name)
        by = source(place)
        (one,) = await take(by, 1)
        await by.close()
        assert (one.body, one.name) == (b"\xff\x00", place.name)
        assert one.headers == {"number": "3", "ce-type": "a.b"}


class TestFaults(FaultContract):
    pass
