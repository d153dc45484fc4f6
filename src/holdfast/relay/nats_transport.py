"""A JetStream stream as a transport: partitions are subjects, and who takes one in has its lease in the service's store.

``nats://h1,h2,h3/shop`` names the stream ``shop``, whose subjects are ``shop.<partition>.<event name>``. What the options
mean: docs/transport.md.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec

from holdfast.errors import BrokerRefused, BrokerUnreachable, MissingExtra
from holdfast.relay.away import Away
from holdfast.relay.nats import NatsDestination, incoming
from holdfast.relay.settings import Settings
from holdfast.relay.transport import NAME, partition_of

try:
    from nats import errors as nats_errors
    from nats.js import api
    from nats.js import errors as js_errors

    from holdfast.relay.nats_line import Line
    from holdfast.relay.nats_taken import ELECTION_SECONDS, Taken
except ImportError as missing:
    raise MissingExtra("nats-py", "nats", "a transport over NATS JetStream") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from holdfast.relay.address import Address
    from holdfast.relay.nats_line import Talk
    from holdfast.relay.ports import Incoming, Message
    from holdfast.relay.transport import Home

T = TypeVar("T")

_HEARTBEAT_SECONDS = 2.0
_TRY_SECONDS = 1.0  # a question reaches the leader of that moment, and a new one hears it only if it is asked again
_ACK_SECONDS = 5.0
_LOOK_SECONDS = 0.25
_LEAST_PENDING = 10  # of one partition, so that it is not one by one
_ANOTHER_HAS_IT = {10012, 10013}  # a consumer of that name with another start, or another inbox
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
    one: no moment is without a consumer. As each worker stores a partition in the order of the stream, from what was
    stored before on, nothing overtakes what another one still has in hand.
    """

    def __init__(self, options: _Options, service: str, home: Home) -> None:
        self._options, self._line, self._service, self._home = options, options.line, service, home
        self._taken: dict[int, Taken] = {}
        self._takers: dict[int, asyncio.Task[None]] = {}
        self._arrived: asyncio.Queue[tuple[Taken, Msg]] = asyncio.Queue()

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
            try:
                while True:
                    await self._follow_the_leases(talk)
                    batch = await self._next_batch()
                    if batch or self._taken or not self._takers:  # else nobody knows yet whether the broker is back
                        yield batch
            finally:
                await _ended(self._takers.values())

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """Tell the stream, with the last message of each partition; returns when it knows, or is to be asked anew."""
        last = {_partition(message): message.handle for message in messages}
        async with self._line.talking():
            await asyncio.gather(*(self._acknowledge(number, one) for number, one in last.items()))

    async def _acknowledge(self, number: int, message: Msg) -> None:
        """A consumer whose leader is away may not have heard it: its partition is taken in anew, and no other."""
        try:
            await message.ack_sync(timeout=min(_ACK_SECONDS, self._line.timeout))
        except (nats_errors.NoRespondersError, nats_errors.TimeoutError):
            if self._line.has_objected:
                raise
            if number in self._taken:  # else another worker has it, with a consumer of its own
                self._taken[number].is_lost = True

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
        """
        Let go of partitions that another worker has now, begin to take in those that this one has got. Each is taken in
        by a task of its own: one whose consumer waits for its next leader holds no other up.
        """
        self._require_a_sign(talk)
        held = self._home.held()
        for number in [number for number, one in self._taken.items() if held.get(number) != one.epoch or one.is_over]:
            await self._taken.pop(number).end()
        for number in [number for number, task in self._takers.items() if task.done()]:
            self._takers.pop(number).result()
        for number in held.keys() - self._taken.keys() - self._takers.keys():
            self._takers[number] = asyncio.create_task(self._take_in(talk, number, held[number]))

    def _require_a_sign(self, talk: Talk) -> None:
        if not talk.client.is_connected:
            raise BrokerUnreachable(self._line.where, "the connection is lost")
        if self._taken and all(one.is_silent for one in self._taken.values()):
            raise BrokerUnreachable(self._line.where, "nothing is heard of any consumer")

    async def _take_in(self, talk: Talk, number: int, epoch: int) -> None:
        """
        Make the next consumer of the partition, as long as the lease is ours.

        Raises:
            BrokerUnreachable: And no other partition is taken in here, so that all of the broker may be away.
        """
        away = Away(f"ingest {NAME!r}, partition {number},")
        while self._is_ours(number, epoch):
            try:
                await self._make_next(talk, number, epoch)
            except BrokerUnreachable as error:
                if not self._taken:
                    raise
                await asyncio.sleep(away.met(error))
            else:
                away.over()
                return

    def _is_ours(self, number: int, epoch: int) -> bool:
        return self._home.held().get(number) == epoch

    async def _make_next(self, talk: Talk, number: int, epoch: int) -> None:
        prefix = f"{self._service}-{number}-"
        names = await self._answered("which consumers are there", lambda: self._names(talk))
        generations = sorted(int(name.removeprefix(prefix)) for name in names if _is_of(name, prefix))
        begin = await self._begin(talk, [f"{prefix}{generation}" for generation in generations])
        if not self._is_ours(number, epoch):
            return
        name = f"{prefix}{generations[-1] + 1 if generations else 1}"
        self._taken[number] = await self._taken_by(talk, name, number, epoch, begin)
        for generation in generations if self._is_ours(number, epoch) else ():
            # One whose leader is away goes without a word. Whichever stays is of no use, and goes with the next change.
            with suppress(js_errors.NotFoundError, js_errors.ServiceUnavailableError, nats_errors.TimeoutError):
                await talk.stream.delete_consumer(self._line.stream, f"{prefix}{generation}")

    async def _begin(self, talk: Talk, consumers: Sequence[str]) -> int:
        """
        The number in the stream to begin with: behind what the newest of *consumers* has acknowledged. Where that one
        does not answer, an older one's is as good: what it lacks is here already.
        """
        if not consumers:
            if self._options.begins_now:
                known = await talk.stream.stream_info(self._line.stream)
                return int(known.state.last_seq) + 1
            return 1
        *older, newest = consumers
        try:
            return await self._end_of(talk.stream, newest) + 1
        except BrokerUnreachable:
            if not older:
                raise
            return await self._begin(talk, older)

    async def _answered(self, question: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, once there is a leader to give it."""
        try:
            async with asyncio.timeout(ELECTION_SECONDS):
                while True:
                    with suppress(
                        nats_errors.TimeoutError, nats_errors.NoRespondersError, js_errors.ServiceUnavailableError
                    ):
                        return await ask()
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError as error:
            raise BrokerUnreachable(self._line.where, f"nobody says {question}") from error

    async def _names(self, talk: Talk) -> list[str]:
        """Of all consumers. Those that know the stream answer, and not the consumers, of which one may be away."""
        found: list[str] = []
        total: int | None = None
        while True:
            request = msgspec.json.encode({"offset": len(found)})
            subject = f"$JS.API.CONSUMER.NAMES.{self._line.stream}"
            answer = await talk.client.request(subject, request, timeout=_TRY_SECONDS)
            page = msgspec.json.decode(answer.data, type=_Names)
            if page.error is not None:
                raise js_errors.APIError.from_error(page.error)
            if total not in (None, page.total):  # one has gone meanwhile, and others have moved up into its page
                found, total = [], None
                continue
            total = page.total
            found += page.consumers or ()
            if not page.consumers or len(found) >= page.total:
                return found

    async def _taken_by(self, talk: Talk, name: str, number: int, epoch: int, begin: int) -> Taken:
        """The partition, taken in by a consumer that is made now."""
        inbox = talk.client.new_inbox()
        taken = Taken(epoch, self._arrived)
        taken.subscription = await talk.client.subscribe(inbox, cb=taken.take)
        config = api.ConsumerConfig(
            durable_name=name, description=self._owner, deliver_subject=inbox,
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=begin,
            filter_subject=f"{self._line.stream}.{number}.>", ack_policy=api.AckPolicy.ALL,
            ack_wait=self._options.ack_wait, max_ack_pending=self._options.pending,
            idle_heartbeat=_HEARTBEAT_SECONDS,
        )  # fmt: skip
        try:
            await self._answered(
                f"that consumer {name} is made",
                lambda: talk.stream.add_consumer(self._line.stream, config, timeout=_TRY_SECONDS),
            )
        except js_errors.APIError as error:
            await taken.end()
            if error.err_code in _ANOTHER_HAS_IT:
                raise BrokerUnreachable(self._line.where, f"somebody else makes the consumer {name}") from error
            raise
        except BaseException:
            await taken.end()
            raise
        taken.heard = asyncio.get_running_loop().time()  # an election may have come first
        return taken

    @property
    def _owner(self) -> str:
        return f"Holdfast store {self._home.store}"

    async def _end_of(self, stream: JetStreamContext, name: str) -> int:
        """The number in the stream up to which the consumer of that name has acknowledged. Its leader answers."""
        try:
            known: api.ConsumerInfo = await self._answered(
                f"how far consumer {name} is",
                lambda: stream.consumer_info(self._line.stream, name, timeout=_TRY_SECONDS),
            )
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
        # Old servers (2.9 does) say 0 where nothing was acknowledged yet.
        return max(int(known.ack_floor.stream_seq), (known.config.opt_start_seq or 1) - 1)

    async def _next_batch(self) -> list[Incoming]:
        found: list[Incoming] = []
        size, pause = 0, _LOOK_SECONDS
        with suppress(TimeoutError):
            while len(found) < self._options.batch and size < _BATCH_BYTES:
                async with asyncio.timeout(pause):
                    taken, message = await self._arrived.get()
                pause = 0
                if not taken.is_ended:
                    found.append(incoming(self._line.stream, message))
                    size += len(message.data)
        return found


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
        self.begins_now = settings.one_of("start", "beginning", "now") == "now"
        self.batch = settings.whole("batch", 500, 1, 10_000)
        self.pending = max(_LEAST_PENDING, 2 * self.batch // self.line.partitions)
        self.ack_wait = settings.seconds("ack_wait", 30, 1, 3600)
        settings.done()


class _Names(msgspec.Struct):
    total: int = 0
    consumers: list[str] | None = None
    error: dict[str, object] | None = None


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_of(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name.removeprefix(prefix).isdecimal()


def _partition(message: Incoming) -> int:
    return int(message.name.split(".")[1])
