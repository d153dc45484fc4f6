"""Why a server does not let us in, by its own code: libpq keeps only the text of a refusal, and that may be translated.

A connection is begun once more, by hand, as far as the answer to the first message. (libpq's ping says less, and holds
the interpreter's lock for as long as a silent server lets it.)
Reference: PostgreSQL manual, "Frontend/Backend Protocol", "Message Formats".
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

_PROTOCOL_3 = 196_608
_LENGTH_MAX = 10_000
# No connection left, shutting down, starting up: it passes.
_PASSES = ("53", "57", "08")


async def is_for_good(connection: PGconn, timeout: float) -> bool:
    """
    Whether the server lives and refuses us for what we are: wrong user, password, database or transport.

    Args:
        connection: The one that failed.
        timeout: Seconds; a server that says nothing is away.
    """
    try:
        async with asyncio.timeout(timeout):
            code = await _answer(connection)
    except (OSError, TimeoutError, EOFError, ValueError):
        return False
    return not code.startswith(_PASSES)


async def _answer(connection: PGconn) -> str:
    """SQLSTATE of the refusal; empty where the server goes on to ask for a password."""
    reader, writer = await _open(connection)
    try:
        parts = [b"user", connection.user, b"database", connection.db, b""]
        body = struct.pack("!i", _PROTOCOL_3) + b"\x00".join(parts) + b"\x00"
        writer.write(struct.pack("!i", len(body) + 4) + body)
        while True:
            kind, length = struct.unpack("!ci", await reader.readexactly(5))
            if not 4 <= length <= _LENGTH_MAX:
                raise ValueError("no PostgreSQL server")
            content = await reader.readexactly(length - 4)
            if kind == b"E":
                return _code(content)
            if kind != b"R" or content[:4] != bytes(4):  # neither a refusal nor "you are in": it asks, or lets us in
                return ""
    finally:
        writer.close()


async def _open(connection: PGconn) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = (connection.hostaddr or connection.host).decode(), connection.port.decode()
    if host.startswith(("/", "@")):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host or "localhost", int(port))


def _code(error: bytes) -> str:
    fields = {field[:1]: field[1:] for field in error.split(b"\x00") if field}
    return fields.get(b"C", b"").decode("ascii", "replace")
