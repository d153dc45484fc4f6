"""A JetStream stream as a transport: partitions are subjects, and who takes one in has its lease in the service's store.

``nats://h1,h2,h3/shop`` names the stream ``shop``, whose subjects are ``shop.<partition>.<event name>``. What the options
mean: docs/transport.md.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import BrokerRefused, BrokerUnreachable, MissingExtra
from holdfast.relay.nats import NatsDestination, incoming
from holdfast.relay.settings import Settings
from holdfast.relay.transport import partition_of

try:
    from nats import errors as nats_errors
    from nats.js import api
    from nats.js import errors as js_errors

    from holdfast.relay.nats_line import Line
except ImportError as missing:
    raise MissingExtra("nats-py", "nats", "a transport over NATS JetStream") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

    from holdfast.relay.address import Address
    from holdfast.relay.nats_line import Talk
    from holdfast.relay.ports import Incoming, Message
    from holdfast.relay.transport import Home

_HEARTBEAT_SECONDS = 2.0
# A consumer whose leader is away gets another one, who goes on where that was; to make it anew would take as long.
_ELECTION_SECONDS = 15.0
_LOOK_SECONDS = 0.25
_BATCH_BYTES = 8 * 2**20


def partitions(address: Address) -> int:
    """
    Into how many the stream is divided.

    Raises:
        ConfigurationError: The stream or an option breaks its rule.
    """
    return _Options(address).line.partitions


def destination(address: Address) -> NatsDestination:
    """Where the way out sends to. Connects at the first `send`."""
    line = _Options(address).line

    def subject_of(message: Message) -> str:
        return f"{line.stream}.{partition_of(message, line.partitions)}.{message.name}"

    return NatsDestination(line, subject_of)


def source(address: Address, *, service: str, home: Home) -> NatsMember:
    """Where the way in takes from. Connects in `receive`."""
    return NatsMember(_Options(address), service, home)


class NatsMember:
    """
    Takes in the partitions whose leases its worker holds.

    Each partition of a service has one durable push consumer, ``<service>-<partition>-<generation>``. Whoever gets the
    lease makes the next generation from where the acknowledgements of the one before end, and only then removes that
    one: nothing overtakes what somebody else had in hand, no moment is without a consumer, and whoever has lost the
    lease without knowing hears nothing more.
    """

    def __init__(self, options: _Options, service: str, home: Home) -> None:
        self._options, self._line, self._service, self._home = options, options.line, service, home
        self._taken: dict[int, _Taken] = {}
        self._arrived: asyncio.Queue[tuple[_Taken, Msg]] = asyncio.Queue()

    @property
    def waiting(self) -> int:
        """Messages of the partitions taken in here that are not stored yet, as the stream said with the last of each."""
        return sum(one.waiting for one in self._taken.values()) + self._arrived.qsize()

    async def receive(self) -> AsyncGenerator[Sequence[Incoming], None]:
        """
        Batches in the order of each partition; an empty one now and then.

        Raises:
            BrokerUnreachable: Connection lost, or nothing heard of any consumer.
            BrokerRefused: Login, rights or stream are not as the address says, or another store has the service's name.
        """
        async with self._line.talking() as talk:
            while True:
                await self._follow_the_leases(talk)
                yield await self._next_batch()

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """Tell the stream, with the last message of each partition; returns when it knows."""
        last = {_partition(message): message.handle for message in messages}
        async with self._line.talking():
            await asyncio.gather(*(self._acknowledge(number, one) for number, one in last.items()))

    async def _acknowledge(self, number: int, message: Msg) -> None:
        try:
            await message.ack_sync(timeout=self._line.timeout)
        except nats_errors.NoRespondersError:
            if number in self._home.held():  # else another worker has it, with a consumer of its own
                raise

    async def refuse(self, message: Incoming, reason: str) -> None:  # noqa: ARG002 - the protocol has no place for it
        """Pass it over: the stream keeps it."""
        await self.acknowledge([message])

    async def check(self) -> None:
        """Connect, and look at the stream."""
        async with self._line.talking():
            pass

    async def close(self) -> None:
        await self._line.close()

    async def _follow_the_leases(self, talk: Talk) -> None:
        self._require_a_sign(talk)
        held = self._home.held()
        for number in [number for number, one in self._taken.items() if held.get(number) != one.epoch or one.is_lost]:
            over = self._taken.pop(number)
            over.is_over = True
            await over.subscription.unsubscribe()
        if missing := sorted(held.keys() - self._taken.keys()):
            names = await self._names(talk)
            taken = await asyncio.gather(*(self._take_over(talk, number, held[number], names) for number in missing))
            self._taken |= zip(missing, taken, strict=True)

    def _require_a_sign(self, talk: Talk) -> None:
        if not talk.client.is_connected:
            raise BrokerUnreachable(self._line.where, "the connection is lost")
        if self._taken and all(one.is_silent for one in self._taken.values()):
            raise BrokerUnreachable(self._line.where, "nothing is heard of any consumer")

    async def _names(self, talk: Talk) -> list[str]:
        """Of all consumers. Those that know the stream answer, and not the consumers, of which one may be away."""
        found: list[str] = []
        while True:
            request = msgspec.json.encode({"offset": len(found)})
            subject = f"$JS.API.CONSUMER.NAMES.{self._line.stream}"
            answer = await talk.client.request(subject, request, timeout=self._line.timeout)
            page = msgspec.json.decode(answer.data, type=_Names)
            if page.error is not None:
                raise js_errors.APIError.from_error(page.error)
            found += page.consumers or ()
            if not page.consumers or len(found) >= page.total:
                return found

    async def _take_over(self, talk: Talk, number: int, epoch: int, names: Sequence[str]) -> _Taken:
        prefix = f"{self._service}-{number}-"
        generations = sorted(int(name.removeprefix(prefix)) for name in names if _is_of(name, prefix))
        policy, begin = self._options.policy, None
        if generations:
            end = await self._end_of(talk.stream, f"{prefix}{generations[-1]}")
            policy, begin = api.DeliverPolicy.BY_START_SEQUENCE, end + 1
        inbox = talk.client.new_inbox()
        taken = _Taken(number, epoch, self._arrived)
        taken.subscription = await talk.client.subscribe(inbox, cb=taken.take)
        await talk.stream.add_consumer(self._line.stream, api.ConsumerConfig(
            durable_name=f"{prefix}{generations[-1] + 1 if generations else 1}", description=self._owner,
            deliver_subject=inbox, deliver_policy=policy, opt_start_seq=begin,
            filter_subject=f"{self._line.stream}.{number}.>", ack_policy=api.AckPolicy.ALL,
            ack_wait=self._options.ack_wait, max_ack_pending=2 * self._options.batch,
            idle_heartbeat=_HEARTBEAT_SECONDS,
        ), timeout=max(_ELECTION_SECONDS, self._line.timeout))  # fmt: skip
        taken.heard = asyncio.get_running_loop().time()  # an election may have come first
        for generation in generations:
            with suppress(js_errors.NotFoundError):
                await talk.stream.delete_consumer(self._line.stream, f"{prefix}{generation}")
        return taken

    @property
    def _owner(self) -> str:
        return f"Holdfast store {self._home.store}"

    async def _end_of(self, stream: JetStreamContext, name: str) -> int:
        """The number in the stream up to which the consumer of that name has acknowledged."""
        try:
            async with asyncio.timeout(_ELECTION_SECONDS):
                known = await self._known(stream, name)
        except js_errors.NotFoundError as error:
            raise BrokerUnreachable(
                self._line.where, f"the consumer {name} is gone: somebody has taken over"
            ) from error
        if known.config.description != self._owner:
            raise BrokerRefused(
                self._line.where, f"its consumer {name} belongs to another store: {known.config.description}",
                f"give this service another name than {self._service!r}; after a restore, remove its consumers",
            )  # fmt: skip
        assert known.ack_floor is not None
        return int(known.ack_floor.stream_seq)

    async def _known(self, stream: JetStreamContext, name: str) -> api.ConsumerInfo:
        """Its leader answers: while it has none, nobody does."""
        while True:
            with suppress(nats_errors.TimeoutError):
                found: api.ConsumerInfo = await stream.consumer_info(self._line.stream, name, timeout=1.0)
                return found

    async def _next_batch(self) -> list[Incoming]:
        found: list[Incoming] = []
        size, pause = 0, _LOOK_SECONDS
        with suppress(TimeoutError):
            while len(found) < self._options.batch and size < _BATCH_BYTES:
                async with asyncio.timeout(pause):
                    taken, message = await self._arrived.get()
                pause = 0
                if not taken.is_over:
                    found.append(incoming(self._line.stream, message))
                    size += len(message.data)
        return found


class _Taken:
    """A partition that is taken in here."""

    subscription: Subscription

    def __init__(self, number: int, epoch: int, arrived: asyncio.Queue[tuple[_Taken, Msg]]) -> None:
        self.number, self.epoch = number, epoch
        self._clock = asyncio.get_running_loop().time
        self.heard, self.waiting = self._clock(), 0
        self.has_gap = self.is_over = False
        self._arrived = arrived
        self._delivered = self._newest = 0

    @property
    def is_silent(self) -> bool:
        return self._clock() - self.heard > _ELECTION_SECONDS

    @property
    def is_lost(self) -> bool:
        """Whether it has to be taken in anew."""
        return self.has_gap or self.is_silent

    async def take(self, message: Msg) -> None:
        """
        What the consumer sends. One acknowledgement stands for all before it: behind a message that was lost on its way
        here, as happens where a server dies, nothing may be taken.
        """
        self.heard = self._clock()
        headers = message.headers or {}
        if headers.get("Status") is not None:  # a heartbeat
            self.has_gap |= int(headers.get(api.Header.LAST_CONSUMER, 0)) > self._delivered
            return
        about = message.metadata
        self.has_gap |= about.sequence.consumer > self._delivered + 1
        if self.has_gap or self.is_over:
            return
        self._delivered, self.waiting = about.sequence.consumer, about.num_pending
        if about.sequence.stream > self._newest:  # it comes again and again while it waits here for the store
            self._newest = about.sequence.stream
            self._arrived.put_nowait((self, message))


class _Line(Line):
    """Whose stream has the subjects of partitions."""

    def __init__(self, address: Address, settings: Settings) -> None:
        super().__init__(address, settings, declare="file")
        self.partitions = settings.whole("partitions", 8, 1, 256)
        self._replicas = settings.whole("replicas", 3 if len(address.servers) >= 3 else 1, 1, 5)

    def wanted_stream(self) -> api.StreamConfig:
        return super().wanted_stream().evolve(subjects=self._subjects, num_replicas=self._replicas)

    @property
    def _subjects(self) -> list[str]:
        return [f"{self.stream}.{number}.>" for number in range(self.partitions)]

    async def require_stream(self, stream: JetStreamContext) -> api.StreamInfo:
        """
        As `Line.require_stream`.

        Raises:
            BrokerRefused: It is divided otherwise, has fewer replicas, or drops what has been taken.
        """
        found = await super().require_stream(stream)
        config = found.config
        if sorted(config.subjects or ()) != sorted(self._subjects):
            has = ", ".join(config.subjects or ())
            raise BrokerRefused(
                self.where, f"the stream {self.stream!r} has the subjects {has[:200]}, and not {self.partitions} "
                f"partitions, {self._subjects[0]} to {self._subjects[-1]}",
                "give ?partitions= as it was made: their number is fixed",
            )  # fmt: skip
        if (config.num_replicas or 1) < self._replicas:
            raise BrokerRefused(
                self.where, f"the stream {self.stream!r} has {config.num_replicas or 1} replicas, not {self._replicas}",
                "change the stream, or say ?replicas=",
            )  # fmt: skip
        if config.retention not in (None, api.RetentionPolicy.LIMITS):
            raise BrokerRefused(
                self.where, f"the stream {self.stream!r} does not keep what one service has taken for the others",
                "make it with retention by limits",
            )  # fmt: skip
        return found


class _Options:
    """What the address says, of both ways."""

    def __init__(self, address: Address) -> None:
        settings = Settings(address)
        self.line = _Line(address, settings)
        begin = settings.one_of("start", "beginning", "now")
        self.policy = api.DeliverPolicy.ALL if begin == "beginning" else api.DeliverPolicy.NEW
        self.batch = settings.whole("batch", 500, 1, 10_000)
        self.ack_wait = settings.seconds("ack_wait", 30, 1, 3600)
        settings.done()


class _Names(msgspec.Struct):
    total: int = 0
    consumers: list[str] | None = None
    error: dict[str, object] | None = None


def _is_of(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name.removeprefix(prefix).isdecimal()


def _partition(message: Incoming) -> int:
    return int(message.name.split(".")[1])
