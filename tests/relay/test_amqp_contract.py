"""Relay and ingest over RabbitMQ: the suite that every broker passes.

One node serves all of these tests, as it takes seconds to start. Where a test kills the broker, connections are cut
and refused at a door before it; the node itself is killed in `TestServices`, and in test_amqp.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.relay.contract import IngestContract, RelayContract, ServicesContract, Taken
from tests.relay.servers import RabbitServer, free_port
from tests.relay.wire import Wire

aio_pika = pytest.importorskip("aio_pika", reason="pip install 'holdfast[amqp]'")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

pytestmark = pytest.mark.timeout(400)


class Door(Wire):
    """Stands before the node, and can be shut and opened again at the same place."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.port = free_port()

    async def __aenter__(self) -> Any:
        await self._open()
        return self

    def shut(self) -> None:
        self._listener.shut()
        self.cut()

    def open(self) -> None:
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        await self._listener.open(self.port)


class RabbitBroker:
    limit = 262_144
    forgets_repeats = False
    few = "prefetch=5"

    def __init__(self, server: RabbitServer, door: Door | None) -> None:
        self.server, self._door = server, door
        self.port = server.port if door is None else door.port
        self.queue = f"orders-{uuid4().hex[:8]}"
        place = "127.0.0.1:{port}/"
        self.to_url = self.from_url = f"amqp://{place}{self.queue}?timeout=3"
        self.missing_url = self.missing_from_url = f"amqp://{place}nowhere?timeout=3"
        self.refused_url = f"amqp://alice:wrong-password@{place}{self.queue}?timeout=3"

    async def _with_channel(self, work: Any) -> Any:
        for _ in range(500):
            try:
                connection = await aio_pika.connect(host="127.0.0.1", port=self.server.port)
            except (aio_pika.exceptions.AMQPError, OSError):
                await asyncio.sleep(0.1)  # it is just starting
                continue
            async with connection:
                return await work(await connection.channel())
        raise AssertionError("the broker does not take anything")

    async def declare(self) -> None:
        await self._with_channel(lambda channel: channel.declare_queue(self.queue, durable=True))

    async def taken(self) -> list[Taken]:
        """Everything, which is put back: a queue gives a message once."""

        async def look(channel: Any) -> list[Taken]:
            queue, found = await channel.get_queue(self.queue), []
            while one := await queue.get(fail=False):
                headers = {name.replace("cloudEvents_", "ce-"): str(value) for name, value in one.headers.items()}
                found.append(Taken(one.message_id, headers.get("ce-partitionkey"), one.body, headers))
            return found  # nothing is acknowledged: the queue has it all back when the connection ends

        found: list[Taken] = await self._with_channel(look)
        return found

    async def put(self, body: bytes, headers: Mapping[str, str], *, name: str = "order.placed") -> None:
        named = {
            one.replace("ce-", "cloudEvents_", 1): value for one, value in headers.items() if one != "content-type"
        }
        message = aio_pika.Message(
            body, headers=named, content_type=headers.get("content-type"), message_id=str(uuid4()), delivery_mode=2
        )
        await self._with_channel(lambda channel: channel.default_exchange.publish(message, self.queue))

    def kill(self) -> None:
        self.server.kill() if self._door is None else self._door.shut()

    def start(self) -> None:
        self.server.start() if self._door is None else self._door.open()

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with RabbitServer(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture
async def broker(server: RabbitServer) -> AsyncIterator[RabbitBroker]:
    async with Door(server.port) as door:
        found = RabbitBroker(server, door)
        await found.declare()
        yield found
        door.shut()


class TestRelay(RelayContract):
    pass


class TestIngest(IngestContract):
    pass


class TestServices(ServicesContract):
    @pytest.fixture
    async def broker(self, server: RabbitServer) -> RabbitBroker:
        found = RabbitBroker(server, None)
        await found.declare()
        return found
