"""Kafka: out with an idempotent producer, in with a consumer group. Needs the extra ``kafka``.

``kafka://broker-1:9092,broker-2:9092/orders`` names the topic ``orders``. Options with a dot in their name go to
librdkafka as they are. What the others mean: docs/relay-kafka.md.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessageRefused, MissingExtra
from holdfast.relay.offsets import Offsets
from holdfast.relay.ports import Incoming
from holdfast.relay.settings import Settings

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

    from holdfast.relay.kafka_producing import LOGIN, PREFIX, Producing, record_of
except ImportError as missing:
    raise MissingExtra("confluent-kafka", "kafka", "a relay to Kafka") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from holdfast.relay.address import Address
    from holdfast.relay.ports import Message

logger = logging.getLogger("holdfast.relay.kafka")

T = TypeVar("T")

_POLL = 0.1  # seconds
# Seconds by which librdkafka would give up later than we do. It gives up message by message, and could let a later one
# of a key pass an earlier one; we throw away all that is left at once.
_LATER = 60
_RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}  # fmt: skip
_NO_TOPIC = {
    KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_EXCEPTION,
}  # fmt: skip
_THROWN_AWAY = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
_THIS_MESSAGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE}


def destination(address: Address) -> KafkaDestination:
    """
    Where a relay sends to. Connects at the first `send`.

    Raises:
        ConfigurationError: An option breaks its rule.
    """
    return KafkaDestination(address)


def source(address: Address, *, name: str) -> KafkaSource:
    """
    Where an ingest takes from. Connects in `receive`. *name*: Its consumer group, unless ``?group=`` says another.

    Raises:
        ConfigurationError: An option breaks its rule.
    """
    return KafkaSource(address, name)


class KafkaDestination:
    """Produces records keyed by tenant and key, acknowledged by all in-sync replicas.

    The producer is idempotent: what it repeats by itself arrives once and in order. After a failure it is thrown away
    with all it holds, so nothing of it arrives behind what is sent again.
    """

    def __init__(self, address: Address) -> None:
        settings = Settings(address)
        self._topic = _Topic(address, settings)
        self._largest = settings.whole("message.max.bytes", 1_000_000, 1000, 1_000_000_000)
        self._config = self._topic.config({
            "enable.idempotence": True, "enable.gapless.guarantee": True, "acks": "all",
            "message.timeout.ms": int(self._topic.timeout + _LATER) * 1000, "message.max.bytes": self._largest,
        }, {
            "partitioner": "murmur2_random", "linger.ms": "1",
            "topic.metadata.propagation.max.ms": str(int(self._topic.timeout * 500)),
        })  # fmt: skip
        settings.done()
        self._producer: Producing | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """
        Hand over *messages* in order; returns when every one is acknowledged. Without any, connect and look whether
        the topic is there.

        Raises:
            BrokerUnreachable: No acknowledgement within ``timeout`` seconds. Any of them may have arrived.
            BrokerRefused: Login, rights or topic are not as the address says.
            MessageRefused: One is larger than ``message.max.bytes``, and nothing was sent; or than the topic allows.

        Cost: one round trip to each broker that leads a partition, shared by all that send at the time.
        """
        records = [record_of(message) for message in messages]
        for record in records:
            if record.may_exceed(self._largest) and record.size > self._largest:
                problem = f"its {record.size} bytes are more than message.max.bytes, {self._largest}"
                raise MessageRefused(self._topic.where, record.message.id, problem, final=True)
        producer = self._producer = self._producer or Producing(self._config)
        try:
            if not records:
                await producer.require(self._topic.require)
                return
            async with asyncio.timeout(self._topic.timeout):
                failed = await producer.produce(self._topic.name, records)
        except BaseException as error:
            self._drop(producer)
            if isinstance(error, TimeoutError):
                raise self._topic.no_answer() from error
            if isinstance(error, KafkaException | BufferError):
                self._topic.explain(error)
            raise
        if failed:
            self._drop(producer)
            refused = [(record, problem) for record, problem in failed if problem.code() in _THIS_MESSAGE]
            if refused:
                # Not for good: what the broker measures is the batch that librdkafka made of several.
                record, _ = max(refused, key=lambda pair: pair[0].size)
                problem = f"its {record.size} bytes, or the batch it was in, are more than the topic allows"
                raise MessageRefused(self._topic.where, record.message.id, problem)
            cause = next((one for _, one in failed if one.code() not in _THROWN_AWAY), failed[0][1])
            self._topic.explain(KafkaException(cause))

    async def close(self) -> None:
        if self._producer is not None:
            self._drop(self._producer)

    def _drop(self, producer: Producing) -> None:
        producer.end()
        if self._producer is producer:
            self._producer = None


class KafkaSource:
    """Takes from one topic as a member of a group; a partition is one member's at a time, so order per key is kept.

    What was handed out and not acknowledged comes again to whoever has the partition then.
    """

    def __init__(self, address: Address, name: str) -> None:
        settings = Settings(address)
        self._topic = _Topic(address, settings)
        self._count = settings.whole("prefetch", 500, 1, 10_000)
        self._begins_now = settings.one_of("start", "beginning", "now") == "now"
        self._config = self._topic.config({
            "group.id": settings.text("group") or name, "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "latest" if self._begins_now else "earliest",
        }, {"isolation.level": "read_committed", "session.timeout.ms": "10000"})  # fmt: skip
        settings.done()
        self._offsets = Offsets()
        self._consumer: Consumer | None = None
        self._is_owed = False  # an answer of the group
        self._thread = ThreadPoolExecutor(1, "holdfast-kafka")
        self._trouble: KafkaError | None = None

    async def receive(self) -> AsyncGenerator[Sequence[Incoming], None]:
        """
        Batches in the order of each partition, up to ``prefetch`` records each.

        Raises:
            BrokerUnreachable: No broker can be reached.
            BrokerRefused: Login, rights or topic are not as the address says.
        """
        await self._in_thread(self._join)
        while True:
            found = await self._in_thread(self._consume)
            if trouble := next(filter(None, (record.error() for record in found)), self._trouble):
                self._topic.explain(KafkaException(trouble))
            if found:
                for record in found:
                    self._offsets.take(*_place(record))
                yield [self._incoming(record) for record in found]

    async def check(self) -> None:
        """
        Connect, and look whether the topic is there.

        Raises:
            BrokerUnreachable, BrokerRefused
        """
        self._consumer = consumer = await self._in_thread(self._make_consumer)
        try:
            await self._in_thread(partial(self._topic.require, consumer))
        except BrokerUnreachable:
            await self._in_thread(partial(consumer.poll, 0))
            if self._trouble is not None and self._trouble.code() in LOGIN:
                self._topic.explain(KafkaException(self._trouble))
            raise

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """
        They are stored: commit the offsets before which nothing is in hand any more.

        Raises:
            BrokerUnreachable: The group may not have heard; then they come again.
        """
        for message in messages:
            self._offsets.done(*message.handle)
        # Of no other partition: it may be another member's by now, which has got further.
        partitions = {partition for partition, _ in (message.handle for message in messages)}
        offsets = [
            TopicPartition(self._topic.name, partition, offset)
            for partition, offset in self._offsets.committable().items()
            if partition in partitions
        ]
        if self._consumer is not None and offsets:
            await self._in_thread(partial(self._commit, offsets))

    async def refuse(self, message: Incoming, reason: str) -> None:
        """
        Pass it over; the topic keeps it, at the place that ``message.id`` names.

        Raises:
            BrokerUnreachable: The group may not have heard; then it comes again.
        """
        logger.error("%s: record %s is passed over: %s", self._topic.where, "/".join(map(str, message.handle)), reason)
        await self.acknowledge([message])

    async def close(self) -> None:
        if self._consumer is not None:
            with suppress(BrokerUnreachable, BrokerRefused):
                await self._in_thread(self._leave)
        self._thread.shutdown(wait=False)

    # In the consumer's thread. Nothing else holds it, not even the frame of an error: it ends here, which takes seconds.

    @property
    def _member(self) -> Consumer:
        assert self._consumer is not None
        return self._consumer

    def _join(self) -> None:
        self._consumer = self._make_consumer()
        self._member.subscribe([self._topic.name], **{"on_assign": self._begin} if self._begins_now else {})

    def _begin(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        """
        Write down where a partition begins that nobody has read yet: whoever gets it next, before a record of it was
        stored, would begin where it ends by then, and miss what came meanwhile.
        """
        known = member.committed(partitions, timeout=self._topic.timeout)
        ends = [
            TopicPartition(one.topic, one.partition, member.get_watermark_offsets(one, self._topic.timeout)[1])
            for one in known
            if one.offset < 0
        ]
        if ends:
            self._commit(ends)

    def _consume(self) -> list[Any]:
        found: list[Any] = self._member.consume(self._count, _POLL)
        return found

    def _commit(self, offsets: list[TopicPartition]) -> None:
        """
        Commit, and ask the group what it has got. To wait for the answer itself, as the client offers, has no end where
        the coordinator is away: nobody would learn that it is, and no stop would come through.
        """
        self._is_owed = True
        self._member.commit(offsets=offsets, asynchronous=True)
        known = {one.partition: one.offset for one in self._member.committed(offsets, timeout=self._topic.timeout)}
        behind = [one.partition for one in offsets if known[one.partition] < one.offset]
        if behind:
            raise BrokerUnreachable(
                self._topic.where, f"the group has not taken what was stored of partitions {behind}: it comes again"
            )
        self._is_owed = False

    def _leave(self) -> None:
        """Where an answer is owed, leaving waits for it without end: then the end of its session tells the group."""
        try:
            if not self._is_owed:
                self._member.close()
        finally:
            self._consumer = None

    def _make_consumer(self) -> Consumer:
        return Consumer({**self._config, "error_cb": self._note}, logger=logger)

    def _note(self, error: KafkaError) -> None:
        if error.code() in LOGIN or error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self._trouble = error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """*work* in the one thread that uses the consumer; errors of the client as those of a relay."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except KafkaException as error:
            self._topic.explain(error)

    def _incoming(self, record: Any) -> Incoming:
        headers = {_header_name(name): value.decode("utf-8", "replace")
                   for name, value in record.headers() or () if value is not None}  # fmt: skip
        return Incoming(
            name=self._topic.name, body=record.value() or b"", headers=headers, source=f"kafka:{self._topic.name}",
            id="/".join(map(str, (self._topic.name, *_place(record)))), handle=_place(record),
        )  # fmt: skip


class _Topic:
    """Where a relay or ingest stands, and what the client's errors mean there."""

    def __init__(self, address: Address, settings: Settings) -> None:
        self.where, self.name = str(address), address.target
        if not self.name or "/" in self.name:
            raise ConfigurationError(f"{self.where}: name a topic, as in kafka://host/orders")
        self.timeout = settings.seconds("timeout", 30, low=1)
        self._address, self._settings = address, settings

    def config(self, ours: dict[str, Any], defaults: dict[str, str]) -> dict[str, Any]:
        """
        What librdkafka is told: *defaults*, what the address gives, and what the guarantees rest on.

        Raises:
            ConfigurationError: The address gives something of *ours*, or what librdkafka does not know.
        """
        given = self._settings.matching(lambda name: "." in name)
        for name in given.keys() & ours.keys():
            raise ConfigurationError(f"{self.where}: option {name} is set by the relay itself: leave it out")
        if given:
            try:
                Producer({**given, "log_level": 0})  # connects to nobody
            except KafkaException as error:
                raise ConfigurationError(f"{self.where}: {error.args[0].str()}") from error
        servers = ",".join(f"{host}:{port or 9092}" for host, port in self._address.servers)
        return {"client.id": "holdfast", **defaults, **self._login(), **given, **ours, "bootstrap.servers": servers}

    def require(self, client: Producer | Consumer) -> None:
        """
        Return when a broker has told that the topic is there. Blocks.

        Raises:
            KafkaException: It is not there, or nobody has told in time.
        """
        found = client.list_topics(self.name, timeout=self.timeout).topics[self.name]
        if found.error is not None:
            raise KafkaException(found.error)

    def no_answer(self) -> BrokerUnreachable:
        return BrokerUnreachable(self.where, f"no answer within {self.timeout:g} s")

    def explain(self, error: BaseException) -> NoReturn:
        """Raise what *error* of the client means for a relay."""
        cause = error.args[0] if error.args and isinstance(error.args[0], KafkaError) else None
        code = None if cause is None else cause.code()
        if code in LOGIN:
            raise BrokerRefused(
                self.where, "it refuses the user or the password", "correct them in the address"
            ) from error
        if code in _RIGHTS:
            raise BrokerRefused(
                self.where, f"the user may not use topic {self.name!r}", "give it the rights in Kafka"
            ) from error
        if code in _NO_TOPIC:
            raise BrokerRefused(self.where, f"there is no topic {self.name!r}", "make it in Kafka") from error
        if code in (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT):
            raise self.no_answer() from error
        raise BrokerUnreachable(self.where, cause.str() if cause is not None else str(error)) from error

    def _login(self) -> dict[str, str]:
        name, tls = self._address.username, self._address.tls
        if name is None:
            return {"security.protocol": "ssl" if tls else "plaintext"}
        return {
            "security.protocol": "sasl_ssl" if tls else "sasl_plaintext", "sasl.mechanisms": "PLAIN",
            "sasl.username": name, "sasl.password": self._address.password or "",
        }  # fmt: skip


def _place(record: Any) -> tuple[int, int]:
    return record.partition(), record.offset()


def _header_name(name: str) -> str:
    return (f"ce-{name.removeprefix(PREFIX)}" if name.startswith(PREFIX) else name).lower()
