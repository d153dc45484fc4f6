"""A TCP proxy in front of PostgreSQL that has bad weather, and traps for single requests."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Self, TypeVar

from tests.chaos.protocol import CANCEL, GSS, SSL, Framer, Request, Requests, query, read_startup
from tests.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_T = TypeVar("_T")
_CHUNK = 1 << 16
_RETRANSMISSION_S = (0.2, 1.0)  # what a lost packet costs: the kernel's shortest timeout, and some doublings
_REFUSAL = "do $$ begin raise exception 'refused by the proxy' using errcode = '{code}'; end $$"


class Harm(Enum):
    """What becomes of a request that meets a trap."""

    REFUSE = "refused"  # the server raises an error in its place
    CUT_BEFORE = "cut before"  # the server never sees it
    CUT_ON = "cut on"  # sent and cut at the same moment: nobody knows
    LOSE_ANSWER = "answer lost"  # carried out; in place of the answer the connection ends
    SWALLOW = "answer swallowed"  # carried out; no answer ever, on a connection that stays open


@dataclass(slots=True, eq=False)
class Trap:
    """Does *harm* to requests that it is *meant* for, *times* times at most."""

    harm: Harm
    meant: Callable[[Link, Request], bool]
    times: int
    after: int = 0
    """How many such requests pass before the first that it harms."""
    code: str = "53200"
    """The SQLSTATE that `Harm.REFUSE` raises."""
    sprung: int = 0
    """How often it has done its harm."""

    def springs(self, link: Link, request: Request) -> bool:
        if self.sprung == self.times or not request.asks or not self.meant(link, request):
            return False
        if self.after:
            self.after -= 1
            return False
        self.sprung += 1
        return True


class Link:
    """One client, and the connection to the server that was made for it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.application = ""
        self.is_forgotten = False
        self._client, self._to_client = client, to_client
        self._server: asyncio.StreamReader
        self._to_server: asyncio.StreamWriter | None = None
        self._requests = Requests()
        # Requests are answered in their order: the start of the connection is the first of them.
        self._asked, self._answered = 1, 0
        self._victim, self._harm = 0, Harm.SWALLOW
        self._task = asyncio.current_task()

    def cut(self) -> None:
        """End both connections at once, as a reset does."""
        for writer in (self._to_client, self._to_server):
            if writer is not None:
                _reset(writer)
        if self._task is not None:
            self._task.cancel()

    def forget(self) -> None:
        """From now on nothing passes, no end of a connection either, and neither side is told."""
        self.is_forgotten = True

    async def serve(self) -> None:
        startup = await self._greet()
        if startup is None:
            return
        self._server, self._to_server = await asyncio.open_connection(*self.proxy.target)
        self._to_server.write(startup)
        pumps = [asyncio.ensure_future(self._forth()), asyncio.ensure_future(self._back())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._to_client.close()
            self._to_server.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _greet(self) -> bytes | None:
        """The client's first message; None if that was all."""
        while True:
            size = await self._client.readexactly(4)
            body = await self._client.readexactly(int.from_bytes(size) - 4)
            await self.proxy.passage()
            (code,) = struct.unpack_from("!i", body)
            if code in {SSL, GSS}:
                self._to_client.write(b"N")  # what passes here is to be read
            elif code == CANCEL:
                _, writer = await asyncio.open_connection(*self.proxy.target)
                writer.write(size + body)
                writer.close()
                return None
            else:
                self.application = read_startup(body[4:]).get("application_name", "")
                return size + body

    async def _forth(self) -> None:
        assert self._to_server is not None
        while chunk := await self._client.read(_CHUNK):
            await self.proxy.passage()
            for request in self._requests.take(chunk):
                if not self.is_forgotten:
                    await self._ask(request)
        await self._wait_for_oblivion()

    async def _ask(self, request: Request) -> None:
        assert self._to_server is not None
        self._asked += request.asks
        trap = next((trap for trap in self.proxy.traps if trap.springs(self, request)), None)
        data = request.data
        if trap is not None:
            if trap.harm is Harm.CUT_BEFORE:
                self.cut()
                await asyncio.sleep(0)
            elif trap.harm is Harm.REFUSE:
                data = query(_REFUSAL.format(code=trap.code))
            elif trap.harm in {Harm.LOSE_ANSWER, Harm.SWALLOW}:
                self._victim, self._harm = self._asked, trap.harm
        self._to_server.write(data)
        await self._to_server.drain()
        if trap is not None and trap.harm is Harm.CUT_ON:
            self.cut()
            await asyncio.sleep(0)

    async def _back(self) -> None:
        framer = Framer()
        while chunk := await self._server.read(_CHUNK):
            await self.proxy.passage()
            passed = [message for message in framer.take(chunk) if self._passes(message)]
            if not self.is_forgotten and passed:
                self._to_client.write(b"".join(passed))
                await self._to_client.drain()
        await self._wait_for_oblivion()

    def _passes(self, message: bytes) -> bool:
        is_swallowed = self._answered + 1 == self._victim
        if message[:1] == b"Z":
            self._answered += 1
            self._requests.state = message[5:6]
            if is_swallowed and self._harm is Harm.LOSE_ANSWER:
                self.cut()
            elif is_swallowed:
                self._victim = 0
        return not is_swallowed

    async def _wait_for_oblivion(self) -> None:
        """One side has ended: the other hears of it, unless nothing passes any more."""
        await self.proxy.passage()
        if self.is_forgotten:
            await asyncio.Event().wait()


class Proxy:
    """Passes connections on to a server, on 127.0.0.1, until told otherwise. All of it lives in one event loop.

    Clients of the same process must be asynchronous ones: libpq's blocking calls would keep the proxy from running.

    Attributes:
        target: Host and port of the server; another value counts for connections made from then on.
        port: Where it listens, once started; stays the same.
        links: The connections of the moment.
        traps: What requests may meet; see `trap`.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", *, chance: random.Random | None = None) -> None:
        self.target = host, port
        self.port = 0
        self.links: set[Link] = set()
        self.traps: list[Trap] = []
        self._chance = chance or random.Random()
        self._listener = Listener(self._serve)
        self._delays: list[float] = []
        self._losses: list[float] = []
        self._holes, self._refusals = 0, 0
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self.port = await self._listener.open(self.port)

    async def close(self) -> None:
        """Listen no more and cut what is connected."""
        self.cut()
        await self._listener.close()

    def dsn(self, dbname: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{dbname}"

    # ---- harm that is over at once

    def cut(self, meant: Callable[[Link], bool] = lambda _: True) -> int:
        """Reset connections; returns how many."""
        links = [link for link in self.links if meant(link)]
        for link in links:
            link.cut()
        return len(links)

    # ---- weather: holds inside of the block, and adds up

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Whatever passes takes up to twice so long, *seconds* on the average."""
        with _listed(self._delays, seconds):
            yield

    @contextmanager
    def lossy(self, share: float) -> Iterator[None]:
        """So many of the packets are lost, and come after all when the kernel has noticed."""
        with _listed(self._losses, share):
            yield

    @contextmanager
    def black_hole(self, *, cut: bool = False) -> Iterator[None]:
        """Nothing passes. Afterwards it does, late, or (*cut*) what was connected is reset."""
        self._holes += 1
        self._open.clear()
        try:
            yield
        finally:
            if cut:
                self.cut()
            self._holes -= 1
            if not self._holes:
                self._open.set()

    @contextmanager
    def half_open(self) -> Iterator[int]:
        """
        What is connected is forgotten, as by a router that restarts: open on both sides, without an end. New
        connections work. Afterwards the old ones are reset. Gives how many there are.
        """
        forgotten = list(self.links)
        for link in forgotten:
            link.forget()
        try:
            yield len(forgotten)
        finally:
            for link in forgotten:
                link.cut()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """What is connected is reset, and nobody listens: connections are refused."""
        self._refusals += 1
        self._listener.shut()
        self.cut()
        try:
            yield
        finally:
            self._refusals -= 1
            if not self._refusals:
                await self.start()

    # ---- traps

    @contextmanager
    def trap(
        self, harm: Harm, meant: Callable[[Link, Request], bool], *, times: int = 1, after: int = 0, code: str = "53200"
    ) -> Iterator[Trap]:
        """While inside, requests of the kind that is *meant* come to *harm*."""
        trap = Trap(harm, meant, times, after, code)
        with _listed(self.traps, trap):
            yield trap

    # ---- for links

    async def passage(self) -> None:
        """Wait as long as the weather asks for."""
        if self._delays:
            await asyncio.sleep(self._chance.uniform(0, 2 * sum(self._delays)))
        if self._losses and self._chance.random() < max(self._losses):
            await asyncio.sleep(self._chance.uniform(*_RETRANSMISSION_S))
        await self._open.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, reader, writer)
        self.links.add(link)
        try:
            # Whatever ends a connection is this proxy's trade; a cancelled task is one that was cut.
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await link.serve()
        finally:
            self.links.discard(link)


@contextmanager
def _listed(active: list[_T], one: _T) -> Iterator[None]:
    active.append(one)
    try:
        yield
    finally:
        active.remove(one)


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
