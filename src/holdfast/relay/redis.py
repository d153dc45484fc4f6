"""Redis Streams: out with XADD in one transaction a batch, in with a consumer group. Needs the extra ``redis``.

``redis://user:password@host/orders`` names the stream ``orders``. What the options mean, what a field of an entry
holds and what Redis promises under which settings: docs/relay-redis.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessageRefused, MissingExtra
from holdfast.relay.ports import Incoming
from holdfast.relay.settings import Settings

try:
    from redis import exceptions as redis_errors
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as missing:
    raise MissingExtra("redis", "redis", "a relay to Redis Streams") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Sequence

    from holdfast.relay.address import Address
    from holdfast.relay.ports import Message

logger = logging.getLogger("holdfast.relay")

T = TypeVar("T")

_GOODBYE = 2.0  # seconds that leaving may take
_WAIT = 1.0  # seconds for which an empty stream is waited on at a time
_BODY = b"body"
_LARGEST = 512 * 2**20  # bytes of a value that Redis takes unless told otherwise

# What this consumer has in hand; if nobody of the group has anything in hand, the next entries; else nothing. In one
# step, so that two consumers never hold entries at once: the one that gives up leaves the older ones to the other.
_TAKE = """
local stream, group, consumer, count = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local pending, from = redis.call('XPENDING', stream, group), '>'
if pending[1] > 0 then
  from = nil
  for _, holder in ipairs(pending[4]) do
    if holder[1] == consumer then from = '0' end
  end
  if not from then return {1, {}} end
end
local found = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, from)
return {0, found and found[1][2] or {}}
"""

# A consumer that is removed takes what it has in hand with it out of the group: only one with empty hands goes.
_LEAVE = """
local found = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #found == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
"""


def destination(address: Address) -> RedisDestination:
    """
    Where a relay sends to. Connects at the first `send`.

    Raises:
        ConfigurationError: An option breaks its rule.
    """
    return RedisDestination(address)


def source(address: Address, *, name: str) -> RedisSource:
    """
    Where an ingest takes from. Connects in `receive`. *name*: Its consumer group, unless ``?group=`` says another.

    Raises:
        ConfigurationError: An option breaks its rule.
    """
    return RedisSource(address, name)


class RedisDestination:
    """Adds each batch to the stream in one transaction: all of it or, told so by Redis, nothing.

    A field ``id`` holds the event's id, by which a reader knows an entry that came twice.
    """

    def __init__(self, address: Address) -> None:
        settings = Settings(address)
        self._line = _Line(address, settings)
        self._create = settings.flag("create", default=True)
        self._maxlen = settings.whole("maxlen", 0, 0, 2**53) or None
        settings.done()
        self._largest: int | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """
        Hand over *messages* in order; returns when Redis has executed the transaction. Without any, connect and look
        whether the stream is there.

        Raises:
            BrokerUnreachable: No connection, or no answer within ``timeout`` seconds: all or none of them arrived.
                Or Redis has no memory left, is loading, or is a replica: none of them arrived.
            BrokerRefused: Login or stream are not as the address says; none of them arrived.
            MessageRefused: One is larger than Redis takes; none of them arrived.

        Cost: one round trip.
        """
        if self._largest is None:
            self._largest = await self._line.look_at_settings()
        if not messages:
            await self._line.require_stream(may_be_missing=self._create)
            return
        for message in messages:
            if len(message.body) > self._largest:
                problem = f"its {len(message.body)} bytes are more than proto-max-bulk-len, {self._largest}"
                raise MessageRefused(self._line.where, message.id, problem, final=True)
        if None in await self._line.within(self._add(messages)):
            raise self._line.no_stream()

    async def close(self) -> None:
        await self._line.client.aclose()

    async def _add(self, messages: Sequence[Message]) -> list[Any]:
        async with self._line.client.pipeline(transaction=True) as pipe:
            for message in messages:
                pipe.xadd(
                    self._line.stream, _entry(message), maxlen=self._maxlen, approximate=True,
                    nomkstream=not self._create,
                )  # fmt: skip
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies


class RedisSource:
    """Takes from one stream as a consumer of a group, of which one at a time has entries in hand.

    So order per key is the stream's, however many workers ingest. Entries in the hands of one that is gone are
    claimed after ``claim`` seconds, and come before any later ones.
    """

    def __init__(self, address: Address, name: str) -> None:
        settings = Settings(address)
        self._line = _Line(address, settings)
        self._group = settings.text("group") or name
        self._claim_after = settings.seconds("claim", 15)
        self._count = settings.whole("prefetch", 500, 1, 10_000)
        self._start = settings.one_of("start", "beginning", "now")
        self._refused = settings.text("refused") or f"{self._line.stream}:refused"
        settings.done()
        self._take_next = self._line.client.register_script(_TAKE)
        self._leave = self._line.client.register_script(_LEAVE)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    async def receive(self) -> AsyncGenerator[Sequence[Incoming], None]:
        """
        Batches in the stream's order, up to ``prefetch`` entries each.

        Raises:
            BrokerUnreachable: The connection is lost, or could not be made.
            BrokerRefused: Login or stream are not as the address says, or the group has been removed; the next
                `receive` makes it anew.
        """
        await self._line.within(self._join())
        while True:
            others_hold, entries = await self._line.within(self._take())
            if entries:
                if batch := await self._present(entries):
                    yield batch
            elif not others_hold:
                await self._line.within(self._wait())
            elif not await self._line.within(self._claim()):
                await asyncio.sleep(_WAIT)

    async def check(self) -> None:
        """
        Connect, and look whether the stream can be one.

        Raises:
            BrokerUnreachable, BrokerRefused
        """
        await self._line.require_stream(may_be_missing=True)

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """
        They are stored: nobody of the group gets them again.

        Raises:
            BrokerUnreachable: Redis may not have heard; then they come again.
        """
        if messages:
            entries = [message.handle[0] for message in messages]
            await self._line.within(self._line.client.xack(self._line.stream, self._group, *entries))

    async def refuse(self, message: Incoming, reason: str) -> None:
        """
        Add the entry with the *reason* to the stream of refused ones and acknowledge it, in one transaction.

        Raises:
            BrokerUnreachable, BrokerRefused: Neither was done; the entry comes again.
        """
        entry, fields = message.handle
        await self._line.within(self._set_aside(entry, fields, reason))

    async def close(self) -> None:
        """Leave the group, unless entries are still in hand."""
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._leave(keys=[self._line.stream], args=[self._group, self._consumer])
        except (redis_errors.RedisError, OSError) as error:
            logger.debug("%s: consumer %s stays in the group: %s", self._line.where, self._consumer, error)
        await self._line.client.aclose()

    async def _join(self) -> None:
        begin = "0" if self._start == "beginning" else "$"
        try:
            await self._line.client.xgroup_create(self._line.stream, self._group, id=begin, mkstream=True)
        except redis_errors.ResponseError as error:
            if _code(error) != "BUSYGROUP":
                raise

    async def _take(self) -> tuple[bool, list[Any]]:
        others_hold, entries = await self._take_next(
            keys=[self._line.stream], args=[self._group, self._consumer, self._count]
        )
        return bool(others_hold), entries

    async def _wait(self) -> None:
        """Return when there may be something new, at the latest after a second."""
        groups = await self._line.client.xinfo_groups(self._line.stream)
        seen = next((one["last-delivered-id"] for one in groups if one["name"] == self._group.encode()), "$")
        await self._line.client.xread({self._line.stream: seen}, count=1, block=int(_WAIT * 1000))

    async def _claim(self) -> bool:
        """Take over what somebody else has had in hand for too long; whether there was any."""
        reply = await self._line.client.xautoclaim(
            self._line.stream, self._group, self._consumer, int(self._claim_after * 1000), count=self._count,
            justid=True,
        )  # fmt: skip
        return bool(reply)

    async def _present(self, entries: Sequence[Any]) -> list[Incoming]:
        gone = [entry for entry, fields in entries if fields is None]
        if gone:
            logger.error(
                "%s: %d entries from %s on were delivered to nobody: they were deleted or trimmed from the stream "
                "before they could be stored",
                self._line.where, len(gone), gone[0].decode(),
            )  # fmt: skip
            await self._line.within(self._line.client.xack(self._line.stream, self._group, *gone))
        return [self._incoming(entry, fields) for entry, fields in entries if fields is not None]

    def _incoming(self, entry: bytes, flat: Sequence[bytes]) -> Incoming:
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        headers = {_text(name).lower(): _text(value) for name, value in fields.items() if name != _BODY}
        given = headers.pop("id", None)
        return Incoming(
            name=self._line.stream, body=fields.get(_BODY, b""), headers=headers, source=f"redis:{self._line.stream}",
            id=given or f"{self._line.stream}/{entry.decode()}", handle=(entry, fields),
        )  # fmt: skip

    async def _set_aside(self, entry: bytes, fields: dict[Any, Any], reason: str) -> None:
        copy = {**fields, b"refused-reason": reason.encode("utf-8", "replace"), b"refused-entry": entry}
        async with self._line.client.pipeline(transaction=True) as pipe:
            pipe.xadd(self._refused, copy)
            pipe.xack(self._line.stream, self._group, entry)
            await pipe.execute()


class _Line:
    """The connections of one relay or ingest, and what their errors mean."""

    def __init__(self, address: Address, settings: Settings) -> None:
        self.where, self.stream = str(address), address.target
        if not self.stream:
            raise ConfigurationError(f"{self.where}: name a stream, as in redis://host/orders")
        if len(address.servers) != 1:
            raise ConfigurationError(f"{self.where}: give one server; Redis Cluster and Sentinel are not supported")
        self._timeout = settings.seconds("timeout", 30, low=_WAIT / 2)
        host, port = address.servers[0]
        # No retries of the client's own: a repeated transaction is a batch that comes twice, and the engine's to count.
        # Nor its timeout, whose asyncio.wait_for swallows a cancellation on Python 3.11: `within` has one.
        self.client: Any = Redis(
            host=host, port=port or 6379, db=settings.whole("db", 0, 0, 1_000_000),
            username=address.username, password=address.password, ssl=address.tls,
            socket_connect_timeout=self._timeout, socket_timeout=None,
            retry=Retry(NoBackoff(), 0), protocol=2,
        )  # fmt: skip

    async def within(self, work: Awaitable[T]) -> T:
        """What *work* returns; errors of the client as those of a relay."""
        try:
            async with asyncio.timeout(self._timeout + _WAIT):
                return await work
        except (redis_errors.RedisError, OSError) as error:
            self._explain(error)

    async def require_stream(self, *, may_be_missing: bool) -> None:
        kind = await self.within(self.client.type(self.stream))
        if kind == b"none" and not may_be_missing:
            raise self.no_stream()
        if kind not in (b"none", b"stream"):
            raise self._no_such_kind()

    def no_stream(self) -> BrokerRefused:
        return BrokerRefused(self.where, f"there is no stream {self.stream!r}", "make it, or leave ?create=no out")

    def _no_such_kind(self) -> BrokerRefused:
        return BrokerRefused(self.where, f"{self.stream!r} is not a stream", "name another, or remove that key")

    async def look_at_settings(self) -> int:
        """Warn where this Redis may lose what it has acknowledged; returns the most bytes that it takes in a value."""
        facts = await self._allowed(self.client.info(), {})
        if facts.get("aof_enabled") == 0:
            logger.warning(
                "%s: this Redis keeps no append-only file, so what it has acknowledged is lost if it crashes: "
                "set appendonly yes", self.where,
            )  # fmt: skip
        if str(facts.get("maxmemory_policy")).startswith("allkeys"):
            logger.warning(
                "%s: maxmemory-policy %s may evict the whole stream: set noeviction", self.where,
                facts["maxmemory_policy"],
            )  # fmt: skip
        settings = await self._allowed(self.client.config_get("proto-max-bulk-len"), {})
        return int(settings.get("proto-max-bulk-len", _LARGEST))

    async def _allowed(self, question: Awaitable[T], otherwise: T) -> T:
        try:
            return await self.within(question)
        except BrokerRefused as error:
            if isinstance(error.__cause__, redis_errors.AuthenticationError):
                raise
            return otherwise  # the user may not ask

    def _explain(self, error: BaseException) -> NoReturn:
        match error:
            case redis_errors.AuthenticationError() | redis_errors.AuthenticationWrongNumberOfArgsError():
                problem, remedy = "it refuses the user or the password", "correct them in the address"
            case redis_errors.NoPermissionError():
                problem = f"the user may not do what stream {self.stream!r} needs"
                remedy = "allow it the commands and keys named in docs/relay-redis.md"
            case redis_errors.OutOfMemoryError():
                raise BrokerUnreachable(self.where, "it has no memory left: maxmemory is reached") from error
            case redis_errors.ReadOnlyError():
                raise BrokerUnreachable(self.where, "it is a read-only replica now") from error
            case redis_errors.TimeoutError() | TimeoutError():
                raise BrokerUnreachable(self.where, f"no answer within {self._timeout:g} s") from error
            case redis_errors.ResponseError() if _code(error) == "WRONGTYPE":
                raise self._no_such_kind() from error
            case redis_errors.ResponseError() if _code(error) == "NOGROUP":
                problem, remedy = "the consumer group was removed", "look who removes it; it is made anew"
            case redis_errors.ResponseError():
                # Its text may quote the command.
                problem, remedy = f"it refuses the command with {_code(error)}", "use Redis 6.2 or newer"
            case _:
                raise BrokerUnreachable(self.where, str(error) or type(error).__name__) from error
        raise BrokerRefused(self.where, problem, remedy) from error


def _entry(message: Message) -> dict[Any, Any]:
    return {"id": message.id, **message.headers, _BODY: message.body}


def _code(error: BaseException) -> str:
    """The code with which Redis begins an error; ``ERR`` where it has none of its own."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return code if code.isupper() and code.isalpha() else "ERR"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
