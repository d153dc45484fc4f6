"""The brokers that bench/relaying.py measures: a server of its own each, and a bare producer by the broker's client."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import aio_pika
import confluent_kafka
import nats
import redis.asyncio

from tests.relay.servers import RabbitServer, RedisServer
from tests.relay.test_amqp_contract import RabbitBroker
from tests.relay.test_kafka_contract import KafkaBroker
from tests.relay.test_nats import STREAM, NatsBroker
from tests.relay.test_redis_contract import RedisBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from holdfast.relay.ports import Message
    from tests.relay.contract import Broker

BATCH = 100


class Bench(Protocol):
    """A broker while it is entered."""

    broker: Broker

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...

    async def connect(self) -> None:
        """Make the client of the bare producer ready."""

    async def bare(self, messages: Sequence[Message]) -> None:
        """Have them acknowledged, all under way at once."""


class _Place:
    """What all have in common: things that are open, and closed at the end."""

    def __init__(self) -> None:
        self._open = AsyncExitStack()

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()


class NatsBench(_Place):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.broker = NatsBroker(folder)

    async def __aenter__(self) -> Self:
        self._open.enter_context(self.broker)
        await self.broker.prepare(max_msgs=1_000_000)
        return self

    async def connect(self) -> None:
        client = await nats.connect(self.broker.url())
        self._open.push_async_callback(client.close)
        self._stream = client.jetstream()

    async def bare(self, messages: Sequence[Message]) -> None:
        # The same headers as a relay's; another id, or the stream would take them for repeats.
        own = {"Nats-Expected-Stream": STREAM}
        await asyncio.gather(*[
            await self._stream.publish_async(
                f"{STREAM}.bare", one.body, headers={**one.headers, **own, "Nats-Msg-Id": f"bare-{one.id}"}
            )
            for one in messages
        ])  # fmt: skip


class RedisBench(_Place):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._server = RedisServer(folder)
        self.broker = RedisBroker(folder)

    async def __aenter__(self) -> Self:
        self._open.enter_context(self.broker)
        return self

    async def connect(self) -> None:
        self._client = redis.asyncio.Redis(port=self.broker.port)
        self._open.push_async_callback(self._client.aclose)

    async def bare(self, messages: Sequence[Message]) -> None:
        parts = [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]
        await asyncio.gather(*(self._add(part) for part in parts))

    async def _add(self, messages: Sequence[Message]) -> None:
        async with self._client.pipeline(transaction=True) as pipe:
            for one in messages:
                pipe.xadd("bare", {**one.headers, "id": one.id, "body": one.body})
            await pipe.execute()


class RabbitBench(_Place):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._server = RabbitServer(folder)

    async def __aenter__(self) -> Self:
        self._open.enter_context(self._server)
        self.broker = RabbitBroker(self._server, None)
        await self.broker.declare()
        return self

    async def connect(self) -> None:
        connection = await aio_pika.connect(host="127.0.0.1", port=self._server.port)
        self._open.push_async_callback(connection.close)
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue("bare", durable=True)
        self._exchange = channel.default_exchange

    async def bare(self, messages: Sequence[Message]) -> None:
        await asyncio.gather(*(self._exchange.publish(self._message(one), "bare") for one in messages))

    @staticmethod
    def _message(one: Message) -> aio_pika.Message:
        headers: dict[str, Any] = {name.replace("ce-", "cloudEvents_", 1): text for name, text in one.headers.items()}
        return aio_pika.Message(one.body, headers=headers, message_id=one.id, delivery_mode=2)


class KafkaBench(_Place):
    """librdkafka's mock cluster, in this process: its figures say little of a real one."""

    def __init__(self, folder: Path) -> None:  # noqa: ARG002 - it keeps nothing on disk
        super().__init__()

    async def __aenter__(self) -> Self:
        self.broker = KafkaBroker()
        self._open.callback(self.broker.close)
        self.broker.make_topic("bare")
        return self

    async def connect(self) -> None:
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": self.broker.servers, "enable.idempotence": True, "linger.ms": 5}
        )

    async def bare(self, messages: Sequence[Message]) -> None:
        await asyncio.to_thread(self._produce, messages)

    def _produce(self, messages: Sequence[Message]) -> None:
        for one in messages:
            headers = [(name.replace("ce-", "ce_", 1), text.encode()) for name, text in one.headers.items()]
            self._producer.produce("bare", one.body, one.key, headers=headers)
        if left := self._producer.flush(30):
            raise TimeoutError(f"{left} messages not acknowledged")


BROKERS: dict[str, Callable[[Path], Any]] = {
    "nats": NatsBench,
    "redis": RedisBench,
    "amqp": RabbitBench,
    "kafka": KafkaBench,
}
