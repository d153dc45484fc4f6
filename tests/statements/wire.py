"""A wire to PostgreSQL that counts the statements on it and breaks at the one it is told to.

It stands between the driver and a real server, in a thread and a loop of its own, and knows as much of the protocol
as it takes to tell one statement from the next: a Query or an Execute is one, and ReadyForQuery ends its answer.
Reference: PostgreSQL manual, "Frontend/Backend Protocol", "Message Flow" and "Message Formats".
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from enum import StrEnum
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.listener import Listener
from tests.statements.counting import Countdown

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from typing import Self

_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
_NO_MEMORY = b"do $$ begin raise exception 'out of memory' using errcode = '53200'; end $$"


class Break(StrEnum):
    """What happens to a statement."""

    CUT = "cut"  # the connection ends before the statement reaches the server
    LOST = "lost"  # the statement is done, and the connection ends before its answer arrives
    TERMINATED = "terminated"  # the server ends the session instead of taking the statement
    REFUSED = "refused"  # the server has no memory for it; session and transaction live on, the latter failed
    SILENT = "silent"  # from here on nothing arrives on either side, and nobody says so
    CANCELLED = "cancelled"  # who awaits is cancelled before the statement reaches the server
    CANCELLED_LATE = "cancelled late"  # who awaits is cancelled when it is done, before its answer arrives


class Wire(Countdown[Break]):
    """Use it as a context manager, and connect to `dsn`. Breaking and healing: see `Countdown`."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target, parts = target, urlsplit(target)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 5432
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._thread = Thread(target=self._run, name="wire", daemon=True)
        self._listener = Listener(self._serve)
        self.ended: set[int] = set()  # process ids of the sessions that were cut off

    def __enter__(self) -> Self:
        self.admin = psycopg.connect(self._target, autocommit=True)
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._listener.open(), self.loop).result()
        parts = urlsplit(self._target)
        user = f"{parts.username}@" if parts.username else ""
        self.dsn = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}"))
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._listener.close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.admin.close()

    def _run(self) -> None:
        with self._runner:
            self.loop.run_forever()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        await Link(self, reader, writer).run()

    def terminate(self, pid: int) -> None:
        """The server ends a session, soon."""
        self.admin.execute("select pg_terminate_backend(%s)", [pid])


class Link:
    """One connection through the wire."""

    def __init__(self, wire: Wire, reader: StreamReader, writer: StreamWriter) -> None:
        self._wire, self._client, self._to_client = wire, reader, writer
        self._pid = 0
        self._asked = self._answered = 0  # answers awaited from the server, and those that have come
        self._keeps_from = 0  # from this answer on nothing is passed on to the client; 0: everything is
        self._then_passes = False
        self._is_silent = False

    async def run(self) -> None:
        self._server, self._to_server = await asyncio.open_connection(self._wire.host, self._wire.port)
        pumps = {asyncio.ensure_future(self._requests()), asyncio.ensure_future(self._answers())}
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._cut()  # first: what is awaited may be cancelled
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            with suppress(OSError):
                await self._to_server.wait_closed()

    def _cut(self) -> None:
        if self._pid:
            self._wire.ended.add(self._pid)
        self._to_client.close()
        self._to_server.close()

    # From the client

    async def _requests(self) -> None:
        if not await self._begin():
            return
        held = b""  # Parse, Bind and Describe of the statement whose Execute is still to come
        while True:
            kind, message = await frame(self._client)
            if kind in b"PBDC":
                held += message
                continue
            if kind in b"QE" and (fault := self._wire.begins()) is not None:
                held, message = self._break(fault, kind, held, message)
                if not message:
                    await asyncio.Future()  # the other pump ends this link, or whoever closes the wire does
            if kind in b"QS":
                self._asked += 1
            if not self._is_silent:
                self._to_server.write(held + message)
                await self._to_server.drain()
            held = b""

    async def _begin(self) -> bool:
        """Pass the first message on; answer by ourselves that there is no encryption. False: it was all there is."""
        while True:
            (length,) = struct.unpack("!i", await self._client.readexactly(4))
            body = await self._client.readexactly(length - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code not in {_SSL, _GSS}:
                break
            self._to_client.write(b"N")
        self._to_server.write(struct.pack("!i", length) + body)
        self._asked = 1
        if code == _CANCEL:
            await asyncio.Future()  # the server closes when it has taken it
        return code != _CANCEL

    def _break(self, fault: Break, kind: bytes, held: bytes, message: bytes) -> tuple[bytes, bytes]:
        """Returns what goes to the server in place of *held* and *message*; nothing where nothing may follow."""
        match fault:
            case Break.CUT:
                self._to_client.transport.abort()
                self._to_server.transport.abort()
                return b"", b""
            case Break.TERMINATED:
                self._wire.terminate(self._pid)
                return b"", b""
            case Break.REFUSED:
                return b"", refused(kind)
            case Break.SILENT:
                self._is_silent = True
            case Break.LOST | Break.CANCELLED_LATE:
                self._keeps_from, self._then_passes = self._asked + 1, fault is Break.CANCELLED_LATE
            case Break.CANCELLED:
                self._wire.cancel()
        return held, message

    # From the server

    async def _answers(self) -> None:
        kept = b""
        while True:
            kind, message = await frame(self._server)
            if kind == b"K":
                (self._pid,) = struct.unpack("!i", message[5:9])
            self._answered += kind == b"Z"
            if self._is_silent:
                continue
            kept += message
            if self._keeps_from and self._answered < self._keeps_from:
                continue
            if self._keeps_from and not self._then_passes:
                return
            if self._keeps_from:
                self._keeps_from, self._then_passes = 0, False
                self._wire.cancel()
            self._to_client.write(kept)
            kept = b""
            await self._to_client.drain()


async def frame(reader: StreamReader) -> tuple[bytes, bytes]:
    """The kind of the next message, and all its bytes."""
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def refused(kind: bytes) -> bytes:
    """A statement that the server refuses, in the form in which it was sent."""
    if kind == b"Q":
        return message(b"Q", _NO_MEMORY + b"\x00")
    parse, bind = message(b"P", b"\x00" + _NO_MEMORY + b"\x00\x00\x00"), message(b"B", b"\x00\x00" + bytes(6))
    return parse + bind + message(b"D", b"P\x00") + message(b"E", b"\x00" + bytes(4))
