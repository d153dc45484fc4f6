"""NATS JetStream: out with acknowledged publishes, in with a durable push consumer. Needs the extra ``nats``.

``nats://user:password@host/shop`` names the stream ``shop``. What the options mean, and what JetStream promises under
which settings: docs/relay.md.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from holdfast.errors import BrokerUnreachable, ConfigurationError, InvalidEvent, MessageRefused, MissingExtra
from holdfast.relay.cloudevents import quoted, unquoted
from holdfast.relay.ports import Incoming
from holdfast.relay.rounds import rounds
from holdfast.relay.settings import Settings

try:
    from nats.js import api
    from nats.js import errors as js_errors

    from holdfast.relay.nats_line import Line
except ImportError as missing:
    raise MissingExtra("nats-py", "nats", "a relay to NATS JetStream") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from holdfast.relay.address import Address
    from holdfast.relay.nats_line import Talk
    from holdfast.relay.ports import Message

_SUBJECT = re.compile(r"[^\s*>.{}]+(\.[^\s*>.{}]+)*")
_NOT_IN_DURABLE = re.compile(r"[^A-Za-z0-9_-]+")

_PLAIN = re.compile(r"[!#-$&-~]*")  # what needs no quoting, as nearly everything; `quoted` costs more than to look

_ID, _EXPECTED = api.Header.MSG_ID.value, api.Header.EXPECTED_STREAM.value
_TOO_LARGE, _WRONG_STREAM, _NO_SUCH_CONSUMER = 10054, 10060, 10014
_STANDBY_SECONDS, _HEARTBEAT_SECONDS = 0.5, 5.0
_LOOK_SECONDS = 1.0
_BATCH_BYTES = 8 * 2**20


def destination(address: Address) -> NatsDestination:
    """
    Where a relay sends to. Connects at the first `send`.

    Raises:
        ConfigurationError: The stream or an option breaks its rule.
    """
    settings = Settings(address)
    line = Line(address, settings)
    subject = settings.text("subject") or f"{address.target}.{{name}}"
    if _SUBJECT.fullmatch(subject.replace("{name}", "name")) is None:
        raise ConfigurationError(f"{address}: option subject is no subject; {{name}} in it is the event's name")
    settings.done()
    return NatsDestination(line, lambda message: subject.replace("{name}", message.name))


def source(address: Address, *, name: str) -> NatsSource:
    """
    Where an ingest takes from. Connects in `receive`.

    Args:
        name: Of the ingest: the durable consumer has it, unless the option ``consumer`` says.

    Raises:
        ConfigurationError: The stream or an option breaks its rule.
    """
    return NatsSource(address, name)


class NatsDestination:
    """
    Publishes with the event's id as ``Nats-Msg-Id``, by which the stream knows a repeat within its duplicate window.

    Of each key one message is under way at a time, so that a refusal of one cannot let the next one pass.

    Args:
        line: The connection.
        subject_of: Where a message goes.
    """

    def __init__(self, line: Line, subject_of: Callable[[Message], str]) -> None:
        self._line, self._subject_of = line, subject_of

    async def send(self, messages: Sequence[Message]) -> None:
        """
        Hand over *messages*; returns when the stream has stored every one, or had it already.

        Raises:
            BrokerUnreachable: No connection, no answer within ``timeout`` seconds, or no room in the stream: some of
                them may have been stored.
            BrokerRefused: Login, rights or stream are not as the address says.
            MessageRefused: One is larger than the server or the stream takes; some of the others may have been stored.

        Cost: a round trip for each message of the most frequent key; one where keys differ.
        """
        async with self._line.talking() as talk:
            for together in rounds(messages):
                await self._publish(talk, [self._wired(message, talk.limits) for message in together])

    def _wired(self, message: Message, limits: dict[str, int]) -> tuple[Message, dict[str, str]]:
        headers = {
            name: quoted(value) if name.startswith("ce-") and _PLAIN.fullmatch(value) is None else value
            for name, value in message.headers.items()
        }
        headers |= {_ID: message.id, _EXPECTED: self._line.stream}
        size = len(message.body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + 12
        for limit, most in limits.items():
            if size > most:  # some servers close the connection then, or do not answer
                problem = f"its {size} bytes are more than the {limit} of {most}"
                raise MessageRefused(self._line.where, message.id, problem, final=True)
        return message, headers

    async def _publish(self, talk: Talk, messages: Sequence[tuple[Message, dict[str, str]]]) -> None:
        answers = talk.answers.expect(len(messages))
        try:
            for number, (message, headers) in enumerate(messages):
                subject = self._subject_of(message)
                await talk.client.publish(subject, message.body, reply=answers.place(number), headers=headers)
            try:
                async with asyncio.timeout(self._line.timeout):
                    await answers.complete
            except TimeoutError:
                problem = (
                    f"{answers.missing} of {len(messages)} messages not acknowledged within {self._line.timeout:g} s"
                )
                raise BrokerUnreachable(self._line.where, problem) from None
        finally:
            answers.forget()
        for number in sorted(answers.errors):
            self._refused(messages[number][0], answers.errors[number])

    def _refused(self, message: Message, error: BaseException) -> NoReturn:
        code = error.err_code if isinstance(error, js_errors.APIError) else None
        if code == _TOO_LARGE:
            problem = f"its {len(message.body)} bytes are more than the stream's max_msg_size"
            raise MessageRefused(self._line.where, message.id, problem, final=True) from error
        if code == _WRONG_STREAM:
            problem = f"the subject {self._subject_of(message)!r} belongs to another stream"
            raise self._line.no_stream(problem) from error
        raise error

    async def close(self) -> None:
        await self._line.close()


class NatsSource:
    """
    Takes from a durable push consumer, to which one client at a time is bound: the others stand by.

    Whoever takes over makes the consumer anew where its acknowledgements end, so that nothing overtakes what the one
    before had in hand.
    """

    def __init__(self, address: Address, name: str) -> None:
        settings = Settings(address)
        self._line = Line(address, settings)
        self._filter = settings.text("subject")
        self._durable = _NOT_IN_DURABLE.sub("-", settings.text("consumer") or name)
        self._start = settings.one_of("start", "beginning", "now")
        self._batch = settings.whole("batch", 100, 1, 10_000)
        self._ack_wait = settings.seconds("ack_wait", 30, 1, 3600)
        settings.done()
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._in_hand: set[int] = set()
        self._heard = 0.0

    async def receive(self) -> AsyncGenerator[Sequence[Incoming], None]:
        """
        Batches in the order of the stream.

        Raises:
            BrokerUnreachable: Connection lost; or nothing was heard of the consumer, which somebody may have removed.
            BrokerRefused: Login, rights or stream are not as the address says.
        """
        async with self._line.talking() as talk:
            await self._bind(talk)
            while True:
                yield await self._next_batch(talk)

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """Tell the stream; returns when it knows of the last one."""
        async with self._line.talking():
            for message in messages[:-1]:
                await message.handle.ack()
            await messages[-1].handle.ack_sync(timeout=self._line.timeout)
        self._let_go(messages)

    async def refuse(self, message: Incoming, reason: str) -> None:  # noqa: ARG002 - the protocol has no place for it
        """It is not delivered again; where the stream keeps what is acknowledged, it stays there."""
        async with self._line.talking():
            await message.handle.term()
        self._let_go([message])

    def _let_go(self, messages: Sequence[Incoming]) -> None:
        self._in_hand.difference_update(message.handle.metadata.sequence.stream for message in messages)

    async def check(self) -> None:
        async with self._line.talking():
            pass

    async def close(self) -> None:
        await self._line.close()

    async def _bind(self, talk: Talk) -> None:
        where, stream = self._line.stream, talk.stream
        begin: int | None = None
        while (known := await self._known(stream)) is not None:
            if not known.push_bound:
                assert known.ack_floor is not None
                # Old servers (2.9 does) say 0 where nothing was acknowledged yet.
                begin = max(known.ack_floor.stream_seq + 1, known.config.opt_start_seq or 1)
                with suppress(js_errors.NotFoundError):
                    await stream.delete_consumer(where, self._durable)
                break
            await asyncio.sleep(_STANDBY_SECONDS)
        if begin is None:  # a number, so that whoever comes next begins there too if nothing has come until then
            begin = 1 if self._start == "beginning" else (await stream.stream_info(where)).state.last_seq + 1
        inbox = talk.client.new_inbox()
        await talk.client.subscribe(inbox, cb=self._take)
        await stream.add_consumer(where, api.ConsumerConfig(
            durable_name=self._durable, deliver_subject=inbox, opt_start_seq=begin,
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            ack_policy=api.AckPolicy.EXPLICIT, ack_wait=self._ack_wait, max_ack_pending=2 * self._batch,
            filter_subject=self._filter, idle_heartbeat=_HEARTBEAT_SECONDS,
        ))  # fmt: skip
        self._heard = asyncio.get_running_loop().time()

    async def _known(self, stream: JetStreamContext) -> api.ConsumerInfo | None:
        try:
            found: api.ConsumerInfo = await stream.consumer_info(self._line.stream, self._durable)
        except js_errors.NotFoundError as error:
            if error.err_code == _NO_SUCH_CONSUMER:
                return None
            raise
        return found

    async def _take(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        if not message.reply:  # a heartbeat
            return
        number = message.metadata.sequence.stream
        if number not in self._in_hand:  # it comes again and again while it waits here for the store
            self._in_hand.add(number)
            self._arrived.put_nowait(message)

    async def _next_batch(self, talk: Talk) -> list[Incoming]:
        while self._arrived.empty():
            if not talk.client.is_connected:
                raise BrokerUnreachable(self._line.where, "the connection is lost")
            if asyncio.get_running_loop().time() - self._heard > 3 * _HEARTBEAT_SECONDS:
                raise BrokerUnreachable(self._line.where, f"nothing is heard of the consumer {self._durable!r}")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    return self._with_those_behind(await self._arrived.get())
        return self._with_those_behind(self._arrived.get_nowait())

    def _with_those_behind(self, first: Msg) -> list[Incoming]:
        found, size = [incoming(self._line.stream, first)], len(first.data)
        while len(found) < self._batch and size < _BATCH_BYTES and not self._arrived.empty():
            message = self._arrived.get_nowait()
            size += len(message.data)
            found.append(incoming(self._line.stream, message))
        return found


def incoming(stream: str, message: Msg) -> Incoming:
    """A message of *stream* as ingests have it."""
    headers = {name.lower(): value for name, value in (message.headers or {}).items()}
    for name, value in headers.items():
        if name.startswith("ce-"):
            with suppress(InvalidEvent):  # it is no CloudEvent then, as whoever reads it finds out
                headers[name] = unquoted(value)
    own = headers.get(_ID.lower()) or f"{stream}/{message.metadata.sequence.stream}"
    return Incoming(message.subject, message.data, headers, f"nats:{stream}", own, message)
