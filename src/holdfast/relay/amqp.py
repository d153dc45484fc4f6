"""RabbitMQ (AMQP 0-9-1): out with publisher confirms, in with manual acknowledgements. Needs the extra ``amqp``.

``amqp://user:password@host/orders`` names the queue ``orders``; with ``?type=exchange`` the exchange of that name, to
which each message goes with the event's name as its routing key. What the options mean: docs/relay-rabbitmq.md.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessageRefused, MissingExtra
from holdfast.relay.ports import Incoming
from holdfast.relay.rounds import rounds
from holdfast.relay.settings import Settings

try:
    import aio_pika
    from aiormq import exceptions as amqp
except ImportError as missing:
    raise MissingExtra("aio-pika", "amqp", "a relay to RabbitMQ") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Sequence

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, HeadersType

    from holdfast.relay.address import Address
    from holdfast.relay.ports import Message

logger = logging.getLogger("holdfast.relay")

T = TypeVar("T")

_GOODBYE = 2.0  # seconds that a connection gets to close properly
_STANDBY = 0.5  # seconds between two looks whether the queue is free
_PREFIX = "cloudEvents_"
_PREFIXES_READ = (_PREFIX, "cloudEvents:")


def destination(address: Address) -> AmqpDestination:
    """
    Where a relay sends to. Connects at the first `send`.

    Raises:
        ConfigurationError: An option breaks its rule.
    """
    return AmqpDestination(address)


def source(address: Address, *, name: str) -> AmqpSource:
    """
    Where an ingest takes from. Connects in `receive`. *name*: How RabbitMQ shows its connection.

    Raises:
        ConfigurationError: An option breaks its rule.
    """
    return AmqpSource(address, name)


class AmqpDestination:
    """Sends each message persistently, and takes it for delivered when RabbitMQ has confirmed it.

    Each `send` has a channel of its own while it lasts, so an error that closes a channel meets the batch that caused
    it and no other. After an error the channel is not used again: a late answer cannot be taken for another's.
    """

    def __init__(self, address: Address) -> None:
        settings = Settings(address)
        self._line = _Line(address, settings)
        self._to_exchange = settings.one_of("type", "queue", "exchange") == "exchange"
        self._declare = settings.one_of("declare", "no", "classic", "quorum")
        settings.done()
        if self._to_exchange and self._declare != "no":
            raise ConfigurationError(f"{address}: declare= makes queues; declare the exchange in RabbitMQ")
        self._idle: list[AbstractChannel] = []

    async def send(self, messages: Sequence[Message]) -> None:
        """
        Hand over *messages*, in order per key; returns when all are confirmed. Without any, connect and look whether
        the queue or exchange is there.

        Raises:
            BrokerUnreachable: No connection, or no answer within ``timeout`` seconds. Any of them may have arrived.
            BrokerRefused: Login, virtual host, queue or exchange are not as the address says.
            MessageRefused: One of them was refused, or goes nowhere; others of the batch may have arrived.

        Cost: as many round trips as the busiest key has messages in the batch.
        """
        channel = await self._line.within(self._channel())
        try:
            if not messages:
                await self._line.within(self._require_target(channel))
            for part in rounds(messages):
                await self._confirmed(channel, part)
        except BaseException as error:
            if isinstance(error, MessageRefused | BrokerRefused):
                await _closed(channel)
            else:
                await self._line.hang_up()
            raise
        self._idle.append(channel)

    async def close(self) -> None:
        self._idle.clear()
        await self._line.hang_up()

    async def _channel(self) -> AbstractChannel:
        while self._idle:
            if not (channel := self._idle.pop()).is_closed:
                return channel
        return await self._line.channel(self._declare)

    async def _require_target(self, channel: AbstractChannel) -> None:
        if self._to_exchange:
            await channel.get_exchange(self._line.target)
        else:
            await channel.get_queue(self._line.target)

    async def _confirmed(self, channel: AbstractChannel, part: Sequence[Message]) -> None:
        target = self._line.target
        exchange = channel.default_exchange
        if self._to_exchange:
            exchange = await channel.get_exchange(target, ensure=False)
        # Tasks start in the order they are made, and each takes its place in the channel's queue at once.
        answers = await self._line.within(
            asyncio.gather(
                *(exchange.publish(_outgoing(one), one.name if self._to_exchange else target) for one in part),
                return_exceptions=True,
            )
        )
        failed = [(one, answer) for one, answer in zip(part, answers, strict=True) if isinstance(answer, BaseException)]
        if failed:
            # What closed the channel says more than what was nacked or returned before it.
            message, error = max(failed, key=lambda pair: not isinstance(pair[1], amqp.DeliveryError))
            if isinstance(error, amqp.ChannelPreconditionFailed):
                message = max(part, key=lambda one: len(one.body))
            self._explain(message, error)

    def _explain(self, message: Message, error: BaseException) -> NoReturn:
        where, target = self._line.where, self._line.target
        match error:
            case amqp.PublishError() if not self._to_exchange:
                remedy = "declare it in RabbitMQ, or say ?declare=quorum"
                raise BrokerRefused(where, f"there is no queue {target!r}", remedy) from error
            case amqp.PublishError():
                problem = f"exchange {target!r} has no binding for {message.name!r}"
                raise MessageRefused(where, message.id, problem) from error
            case amqp.DeliveryError():
                problem = "nacked: its queue is full, or failed inside RabbitMQ"
                raise MessageRefused(where, message.id, problem) from error
            case amqp.ChannelPreconditionFailed():
                problem = f"its {len(message.body)} bytes are more than max_message_size"
                raise MessageRefused(where, message.id, problem, final=True) from error
            case _:
                self._line.explain(error)


class AmqpSource:
    """Takes from one queue, as its only consumer unless ``exclusive=no``, so that order per key is the queue's.

    Another that consumes from the queue makes it wait. What was handed out and not acknowledged comes again, at its
    old place in the queue, when the connection is gone.
    """

    def __init__(self, address: Address, name: str) -> None:
        settings = Settings(address)
        self._line = _Line(address, settings, name)
        self._declare = settings.one_of("declare", "no", "classic", "quorum")
        self._prefetch = settings.whole("prefetch", 500, 1, 65_535)
        self._exclusive = settings.flag("exclusive", default=True)
        self._refused = settings.text("refused") or f"{self._line.target}.refused"
        settings.done()
        self._inbox: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._in_hand: set[int] = set()

    async def receive(self) -> AsyncGenerator[Sequence[Incoming], None]:
        """
        Batches in the queue's order, up to ``prefetch`` messages each.

        Raises:
            BrokerUnreachable: The connection is lost, or could not be made.
            BrokerRefused: Login, virtual host or queue are not as the address says, or the queue or its consumer has
                been removed.
        """
        channel = await self._consume()
        while True:
            batch = [await self._next(channel)]
            while not self._inbox.empty() and (behind := self._inbox.get_nowait()) is not None:
                batch.append(behind)
            self._in_hand.update(one.delivery_tag or 0 for one in batch)
            yield [self._incoming(one) for one in batch]

    async def check(self) -> None:
        """
        Connect, and look whether the queue is there.

        Raises:
            BrokerUnreachable, BrokerRefused
        """
        channel = await self._line.within(self._line.channel(self._declare))
        await self._line.within(channel.get_queue(self._line.target))

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """
        They are stored: RabbitMQ forgets them.

        Raises:
            BrokerUnreachable: It may not have heard; then they come again.
        """
        originals = {message.handle.delivery_tag: message.handle for message in messages}
        if not originals:
            return
        last = max(originals)
        is_all = all(tag in originals for tag in self._in_hand if tag <= last)
        for tag in [last] if is_all else sorted(originals):
            await self._line.within(originals[tag].ack(multiple=is_all))
        self._in_hand -= originals.keys()

    async def refuse(self, message: Incoming, reason: str) -> None:
        """
        Put a copy with the *reason* into the queue of refused messages, made if it is not there, then acknowledge it.

        Raises:
            BrokerUnreachable, BrokerRefused: The copy could not be made; the message comes again.
        """
        await self._line.within(self._set_aside(message, reason))
        await self.acknowledge([message])

    async def close(self) -> None:
        await self._line.hang_up()

    async def _consume(self) -> AbstractChannel:
        waits = False
        while (channel := await self._as_only_consumer()) is None:
            if not waits:
                logger.info("%s: another consumer has the queue; waiting until it is gone", self._line.where)
            waits = True
            await asyncio.sleep(_STANDBY)
        return channel

    async def _as_only_consumer(self) -> AbstractChannel | None:
        """The channel on which messages come from now on; None if somebody else consumes."""
        within = self._line.within
        channel = await within(self._line.channel(self._declare))
        await within(channel.set_qos(prefetch_count=self._prefetch))
        queue = await within(channel.get_queue(self._line.target))
        # Quorum queues do not know exclusive consumers: there this count alone keeps a second one away.
        if self._exclusive and queue.declaration_result.consumer_count:
            await _closed(channel)
            return None
        channel.close_callbacks.add(lambda *_: self._inbox.put_nowait(None))
        try:
            await within(queue.consume(self._inbox.put, exclusive=self._exclusive))
        except BrokerRefused:
            if await within(self._has_consumer()):
                return None
            raise
        return channel

    async def _has_consumer(self) -> bool:
        queue = await (await self._line.channel()).get_queue(self._line.target)
        return bool(queue.declaration_result.consumer_count)

    async def _next(self, channel: AbstractChannel) -> AbstractIncomingMessage:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._line.look_after):
                    if (message := await self._inbox.get()) is not None:
                        return message
            # The client says nothing when RabbitMQ cancels a consumer: its queue was deleted, or moved.
            queue = await self._line.within(channel.get_queue(self._line.target))
            if not queue.declaration_result.consumer_count:
                problem = f"the consumer of {self._line.target!r} was removed"
                raise BrokerRefused(self._line.where, problem, "look who removes it; the ingest consumes again")

    def _incoming(self, message: AbstractIncomingMessage) -> Incoming:
        headers = {
            _header_name(name): str(value)
            for name, value in message.headers.items()
            if isinstance(value, str | int | float)
        }
        if message.content_type:
            headers["content-type"] = message.content_type
        return Incoming(
            name=message.routing_key or "", body=message.body, headers=headers,
            source=f"amqp:{self._line.target}", id=message.message_id, handle=message,
        )  # fmt: skip

    async def _set_aside(self, message: Incoming, reason: str) -> None:
        channel = await self._line.channel()
        try:
            await channel.get_queue(self._refused)
        except amqp.ChannelNotFoundEntity:
            channel = await self._line.channel()
            await channel.declare_queue(self._refused, durable=True)
        original: AbstractIncomingMessage = message.handle
        copy = aio_pika.Message(
            original.body,
            headers={**original.headers, "x-refused-reason": reason, "x-refused-from": self._line.target},
            content_type=original.content_type, message_id=original.message_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )  # fmt: skip
        await channel.default_exchange.publish(copy, self._refused)
        await channel.close()


class _Line:
    """The connection of one relay or ingest, made when it is needed, and what its errors mean."""

    def __init__(self, address: Address, settings: Settings, name: str = "relay") -> None:
        self.where, self.target = str(address), address.target
        if not self.target:
            raise ConfigurationError(f"{self.where}: name a queue, as in amqp://host/orders")
        self._address, self._name = address, name
        self._virtual_host = settings.text("vhost") or "/"
        self._timeout = settings.seconds("timeout", 30)
        self._heartbeat = settings.whole("heartbeat", 20, 1, 3600)
        self.look_after = min(self._timeout, 5.0)
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._begun: asyncio.Task[AbstractConnection] | None = None

    async def channel(self, declare: str = "no") -> AbstractChannel:
        async with self._connecting:
            if self._connection is None or self._connection.is_closed:
                self._connection = await self._connected()
        channel = await self._connection.channel(on_return_raises=True)
        if declare != "no":
            await channel.declare_queue(self.target, durable=True, arguments={"x-queue-type": declare})
        return channel

    async def hang_up(self) -> None:
        """Close the connection and all its channels; whatever is under way on them fails."""
        connecting, self._begun = self._begun, None
        if connecting is not None:
            with suppress(Exception):
                async with asyncio.timeout(_GOODBYE):
                    self._connection = await connecting
        connection, self._connection = self._connection, None
        if connection is not None:
            await _closed(connection)

    async def within(self, work: Awaitable[T]) -> T:
        """What *work* returns, within the timeout; errors of the client as those of a relay."""
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except (amqp.AMQPError, amqp.ChannelInvalidStateError, OSError) as error:
            self.explain(error)

    def explain(self, error: BaseException) -> NoReturn:
        """Raise what *error* of the client means for a relay."""
        match error:
            case amqp.ProbableAuthenticationError() | amqp.AuthenticationError():
                problem, remedy = "it refuses the user or the password", "correct them in the address"
            case amqp.ConnectionNotAllowed() | amqp.InvalidFrameError():  # the client expects nothing but consent
                problem = f"there is no virtual host {self._virtual_host!r}, or the user may not use it"
                remedy = "make or allow it in RabbitMQ, or name another with ?vhost="
            case amqp.ChannelNotFoundEntity():
                problem, remedy = f"there is no {self.target!r}", "declare it in RabbitMQ"
            case amqp.ChannelAccessRefused():
                problem, remedy = f"the user may not use {self.target!r}", "give the user the permission in RabbitMQ"
            case amqp.ChannelPreconditionFailed() | amqp.ChannelLockedResource():
                problem = f"{self.target!r} is declared otherwise, or belongs to one connection alone"
                remedy = "leave ?declare= out, or declare it anew"
            case TimeoutError():
                raise BrokerUnreachable(self.where, f"no answer within {self._timeout:g} s") from error
            case _:
                raise BrokerUnreachable(self.where, str(error) or type(error).__name__) from error
        raise BrokerRefused(self.where, problem, remedy) from error

    async def _connected(self) -> AbstractConnection:
        """A new connection, which is begun once and not cancelled: the client would leave tasks behind that never end."""
        if self._begun is None or self._begun.cancelled():
            self._begun = asyncio.ensure_future(self._connect())
        try:
            connection = await asyncio.shield(self._begun)
        except Exception:
            self._begun = None
            raise
        # Not where we are cancelled, also at the moment in which it has come: then hanging up closes it.
        self._begun = None
        return connection

    async def _connect(self) -> AbstractConnection:
        trouble: Exception | None = None
        for host, port in self._address.servers:
            try:
                return await aio_pika.connect(
                    host=host, port=port or (5671 if self._address.tls else 5672), ssl=self._address.tls,
                    login=self._address.username or "guest", password=self._address.password or "guest",
                    virtualhost=self._virtual_host, heartbeat=self._heartbeat,
                    client_properties={"connection_name": f"holdfast {self._name}"}, timeout=self._timeout,
                )  # fmt: skip
            except (amqp.AMQPConnectionError, OSError) as error:
                trouble = trouble or error
        assert trouble is not None
        raise trouble


async def _closed(what: AbstractChannel | AbstractConnection) -> None:
    """Close it as far as that goes: it may be half dead, and is not used again."""
    with suppress(Exception):
        async with asyncio.timeout(_GOODBYE):
            await what.close()


def _outgoing(message: Message) -> aio_pika.Message:
    headers: HeadersType = {
        _property_name(name): value for name, value in message.headers.items() if name != "content-type"
    }
    return aio_pika.Message(
        message.body, headers=headers, content_type=message.headers.get("content-type"), message_id=message.id,
        type=message.name, delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )  # fmt: skip


def _property_name(header: str) -> str:
    """As the AMQP binding of CloudEvents calls it."""
    return _PREFIX + header.removeprefix("ce-") if header.startswith("ce-") else header


def _header_name(name: str) -> str:
    for prefix in _PREFIXES_READ:
        if name.startswith(prefix):
            return f"ce-{name.removeprefix(prefix)}".lower()
    return name.lower()
