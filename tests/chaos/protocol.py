"""As much of PostgreSQL's wire protocol as it takes to know requests, commits and answers when they pass by.

Reference: PostgreSQL manual, "Frontend/Backend Protocol", "Message Flow" and "Message Formats".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SSL, GSS, CANCEL = 80_877_103, 80_877_104, 80_877_102
_COMMENT = re.compile(rb"--[^\n]*")
_COMMIT = re.compile(rb"\s*(commit|end|prepare\s+transaction)\b", re.IGNORECASE)
_WRITE = re.compile(rb"\b(insert\s+into|update|delete\s+from|copy)\b", re.IGNORECASE)
_OUTSIDE = b"I"  # the state that ReadyForQuery tells: in no transaction
# What the client gathers before it asks for an answer.
_GATHERED = frozenset(b"PBDEC")
_ASKS = frozenset(b"QS")


class Framer:
    """Cuts a stream into messages: a byte that says the kind, a length, a body."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, chunk: bytes) -> Iterator[bytes]:
        """The messages that are complete with *chunk*."""
        self._rest += chunk
        start, end = 0, len(self._rest)
        while end - start >= 5:
            size = 1 + int.from_bytes(self._rest[start + 1 : start + 5])
            if end - start < size:
                break
            yield bytes(self._rest[start : start + size])
            start += size
        del self._rest[:start]


@dataclass(slots=True)
class Request:
    """What a client sends in one piece."""

    messages: list[bytes] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    asks: bool = False
    """Whether it is answered as a whole, with "ready for query" at the end."""
    commits: bool = False
    """Whether carrying it out ends a transaction that may have written."""

    @property
    def data(self) -> bytes:
        return b"".join(self.messages)


class Requests:
    """Gathers a client's messages to requests, and knows the statements that it has prepared."""

    def __init__(self) -> None:
        self._framer = Framer()
        self._open = Request()
        self._prepared: dict[bytes, bytes] = {}
        self.state = _OUTSIDE

    def take(self, chunk: bytes) -> Iterator[Request]:
        for message in self._framer.take(chunk):
            self._open.messages.append(message)
            self._read(message)
            if message[0] not in _GATHERED:
                request, self._open = self._open, Request()
                request.asks = message[0] in _ASKS
                request.commits = request.asks and any(map(self._may_commit, request.texts))
                yield request

    def _read(self, message: bytes) -> None:
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            self._open.texts += _COMMENT.sub(b"", body).split(b";")  # several, as nobody here writes it in a text
        elif kind == b"P":
            name, text, _ = body.split(b"\x00", 2)
            self._prepared[name] = _COMMENT.sub(b"", text)
        elif kind == b"B":
            _, name, _ = body.split(b"\x00", 2)
            self._open.texts.append(self._prepared.get(name, b""))

    def _may_commit(self, text: bytes) -> bool:
        if _COMMIT.match(text):
            return True
        return self.state == _OUTSIDE and _WRITE.search(text) is not None


def query(sql: str) -> bytes:
    """A request that runs *sql*."""
    body = sql.encode() + b"\x00"
    return b"Q" + struct.pack("!i", len(body) + 4) + body


def read_startup(body: bytes) -> dict[str, str]:
    """What the first message of a connection tells: user, database, application_name and more."""
    words = [word.decode("utf-8", "replace") for word in body.split(b"\x00") if word]
    return dict(zip(words[::2], words[1::2], strict=False))
