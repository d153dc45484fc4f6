"""A Kafka broker that lets nobody in: the mock cluster of librdkafka knows no logins."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from tests.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_API_VERSIONS, _HANDSHAKE, _AUTHENTICATE = 18, 17, 36
_UNSUPPORTED_VERSION, _AUTHENTICATION_FAILED = 35, 58
_VERSIONS = {_HANDSHAKE: (0, 1), _AUTHENTICATE: (0, 0), _API_VERSIONS: (0, 0)}


@asynccontextmanager
async def closed_kafka() -> AsyncIterator[int]:
    """Its port. It asks for SASL/PLAIN and refuses every user, as the protocol has it."""
    listener = Listener(_refuse)
    try:
        yield await listener.open()
    finally:
        await listener.close()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            request, version, correlation = struct.unpack_from(">hhi", await reader.readexactly(size))
            answer = struct.pack(">i", correlation) + _ANSWERS[request](version)
            writer.write(struct.pack(">i", len(answer)) + answer)


def _versions(version: int) -> bytes:
    ranges = [struct.pack(">hhh", request, *bounds) for request, bounds in _VERSIONS.items()]
    return struct.pack(">hi", _UNSUPPORTED_VERSION if version else 0, len(ranges)) + b"".join(ranges)


def _mechanisms(_: int) -> bytes:
    return struct.pack(">hi", 0, 1) + _text("PLAIN")


def _no(_: int) -> bytes:
    return struct.pack(">h", _AUTHENTICATION_FAILED) + _text("invalid credentials") + struct.pack(">i", 0)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


_ANSWERS = {_API_VERSIONS: _versions, _HANDSHAKE: _mechanisms, _AUTHENTICATE: _no}
