"""A connection to NATS JetStream, and what goes wrong on it in the words of a relay."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MissingExtra, RelayError

try:
    from nats import errors as nats_errors
    from nats.aio.client import Client
    from nats.js import api
    from nats.js import errors as js_errors
    from nats.protocol.parser import AUTHORIZATION_VIOLATION, PERMISSIONS_ERR
except ImportError as missing:
    raise MissingExtra("nats-py", "nats", "a relay to NATS JetStream") from missing

from holdfast.relay.nats_answers import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js import JetStreamContext

    from holdfast.relay.address import Address
    from holdfast.relay.settings import Settings

logger = logging.getLogger("holdfast.relay")

_CLOSE_SECONDS = 2.0
_STREAM = re.compile(r"[^\s.*>/\\]{1,255}")
# Resources, storage, the limits of the stream: later there may be room. And a repeat of what the replicas have not agreed on.
_LATER = {10023, 10047, 10077, 10158}


class Talk(NamedTuple):
    client: Client
    stream: JetStreamContext
    limits: dict[str, int]  # bytes of a message with its headers, by what sets them
    answers: Inbox


class Line:
    """
    The connection, opened when it is needed; what goes wrong on it, in the relay's words.

    Args:
        address: Names the servers and the stream.
        settings: Those of the address, of which it takes its own.
        declare: What ``declare`` is where the address does not say.
    """

    def __init__(self, address: Address, settings: Settings, *, declare: str = "no") -> None:
        self.where, self.stream = str(address), address.target
        if _STREAM.fullmatch(self.stream) is None:
            raise ConfigurationError(f"{self.where}: {self.stream!r} is no name of a stream: nats://host/stream")
        self.timeout = settings.seconds("timeout", 10)
        self.declare = settings.one_of("declare", declare, "no", "file", "memory")
        self.duplicates = settings.seconds("duplicates", 120, 1, 86_400)
        scheme = "tls" if address.tls else "nats"
        hosts = [(f"[{host}]" if ":" in host else host, port or 4222) for host, port in address.servers]
        self._options: dict[str, Any] = {
            "servers": [f"{scheme}://{host}:{port}" for host, port in hosts],
            "user": address.username, "password": address.password, "token": settings.text("token"),
            "user_credentials": settings.text("credentials"), "connect_timeout": self.timeout,
            # What is under way when a connection breaks shall end now, and not wait for another one.
            "allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0,
            "ping_interval": 5, "max_outstanding_pings": 2,
            "tls": ssl.create_default_context() if address.tls else None,
        }  # fmt: skip
        self._talk: Talk | None = None
        self._opening = asyncio.Lock()
        self._said: Exception | None = None

    @property
    def has_objected(self) -> bool:
        """Whether the server has said that something is not allowed."""
        return self._said is not None

    def no_stream(self, problem: str) -> BrokerRefused:
        remedy = f"make the stream {self.stream!r} with its subjects, or let ?declare=file do it"
        return BrokerRefused(self.where, problem, remedy)

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[Talk]:
        talk: Talk | None = None
        try:
            talk = await self._connected()
            yield talk
        except js_errors.NotFoundError as error:
            raise self.no_stream(f"there is no stream {self.stream!r}") from error
        except js_errors.APIError as error:
            problem = f"{error.description or type(error).__name__} [{error.err_code}]"
            if error.err_code in _LATER or isinstance(error, js_errors.ServiceUnavailableError):
                raise BrokerUnreachable(self.where, problem) from error
            raise BrokerRefused(self.where, f"JetStream refuses: {problem}", "see how the stream is set up") from error
        except js_errors.NoStreamResponseError as error:
            await self._leave(talk)  # the next connection finds out whether the stream is still there
            raise BrokerUnreachable(self.where, "no stream takes what is published: see its subjects") from error
        except (nats_errors.Error, OSError, TimeoutError) as error:
            await self._leave(talk)
            raise self._outage(error) from error

    def _outage(self, error: Exception) -> RelayError:
        """What the server has said, where it did, tells more than what became of the request."""
        told = error if self._said is None else self._said
        words = str(told).lower()  # the protocol has no codes: these words of it are fixed
        if AUTHORIZATION_VIOLATION in words or isinstance(told, nats_errors.InvalidUserCredentialsError):
            return BrokerRefused(self.where, "the login is refused", "give user and password, ?token= or ?credentials=")
        if PERMISSIONS_ERR in words:
            return BrokerRefused(
                self.where, str(told), "the user needs rights for the subjects, $JS.API.> and _INBOX.>"
            )
        return BrokerUnreachable(self.where, str(told) or type(told).__name__)

    async def _connected(self) -> Talk:
        async with self._opening:
            if self._talk is None or not self._talk.client.is_connected:
                await self.close()
                self._talk = await self._connect()
        return self._talk

    async def _connect(self) -> Talk:
        """Connect, and look at the stream. A refused login's connection may end before its reason is read: ask again."""
        for tries_left in (2, 1, 0):
            self._said = None
            client, answers = Client(), Inbox(f"_INBOX.{uuid4().hex}")
            try:
                await client.connect(**self._options, error_cb=self._hear, closed_cb=answers.lost)
                await client.subscribe(answers.subject, cb=answers.take)
                stream = client.jetstream(timeout=self.timeout)
                limits = {"server's max_payload": client.max_payload}
                if (own := (await self.require_stream(stream)).config.max_msg_size or -1) > 0:
                    limits["stream's max_msg_size"] = own
                self._said = None  # of another server, which was asked first
                return Talk(client, stream, limits, answers)
            except ConnectionResetError:
                await closed(client)
                if not tries_left:
                    raise
            except BaseException:
                await closed(client)
                raise
        raise AssertionError

    async def require_stream(self, stream: JetStreamContext) -> api.StreamInfo:
        """
        What the stream is like; made where it is missing and the address lets us.

        Raises:
            NotFoundError: It is missing.
        """
        try:
            return await stream.stream_info(self.stream)
        except js_errors.NotFoundError:
            if self.declare == "no":
                raise
            return await stream.add_stream(self.wanted_stream())

    def wanted_stream(self) -> api.StreamConfig:
        """The stream as it is made."""
        storage = {"file": api.StorageType.FILE, "memory": api.StorageType.MEMORY}[self.declare]
        return api.StreamConfig(
            name=self.stream, subjects=[f"{self.stream}.>"], storage=storage, duplicate_window=self.duplicates
        )

    async def _hear(self, error: Exception) -> None:
        if isinstance(error, nats_errors.SlowConsumerError) or not isinstance(error, nats_errors.Error | OSError):
            logger.error("%s: a message could not be taken", self.where, exc_info=error)
        else:
            self._said = error  # the client would print it; whoever waits for an answer tells it

    async def _leave(self, talk: Talk | None) -> None:
        if talk is not None and self._talk is talk:
            await self.close()

    async def close(self) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            await closed(talk.client)


async def closed(client: Client) -> None:
    """What a server that hangs has not read yet is given up."""
    with suppress(nats_errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
