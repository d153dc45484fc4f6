"""The bytes of a spool file: what `holdfast.spool_file` writes and reads. No I/O.

::

    header   magic 8 | version u32 | crc32 of both u32 | head u64 | crc32 of head u32 | 4 unused
    record   marker 4 | crc32 of the rest u32 | length u32 | body: MessagePack array of the fields of `NewEvent`

A scheduled event's array has one element more, when it is due.

All numbers are little-endian. ``head`` is the offset of the first record that the store does not have yet. It may be
older than the truth after a crash: records are then sent again, and their ids make that harmless. The marker holds
bytes that UTF-8 never has, so no name and no payload contains it.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec

from holdfast.event import NewEvent, from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MARKER = b"\xf5\xffHR"
FRAME_SIZE = 12
PREFIX_SIZE = 16
HEAD_SIZE = 12
HEADER_SIZE = 32

DEFAULT_LIMIT = 256 * 2**20
PEEK_BYTES = 8 * 2**20

_PREFIX = struct.Struct("<8sI")
_HEAD = struct.Struct("<Q")
_FRAME = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
_CHECKSUM = struct.Struct("<I")

_encoder = msgspec.msgpack.Encoder()


class _Body(msgspec.Struct, array_like=True):
    id: bytes
    tenant_id: str
    name: str
    key: str | None
    payload: bytes
    headers: bytes | None
    occurred_at: int | None
    due_at: int | None = None


_decoder = msgspec.msgpack.Decoder(_Body)


class SpoolRecord(NamedTuple):
    """A spooled event and where it lies: file name and offsets (no name in memory)."""

    event: NewEvent
    file: str
    start: int
    end: int


class Damage(NamedTuple):
    """Bytes between two offsets that are no intact record."""

    start: int
    end: int


class PendingKeys:
    """How many pending events each (tenant, key) has; events without a key are not counted."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def __contains__(self, tenant_and_key: object) -> bool:
        return tenant_and_key in self._counts

    def add(self, events: Iterable[NewEvent]) -> None:
        for key in _keys(events):
            self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, events: Iterable[NewEvent]) -> None:
        for key in _keys(events):
            left = self._counts.pop(key) - 1
            if left:
                self._counts[key] = left


def encode(event: NewEvent) -> bytes:
    """The record of *event*, frame and body."""
    id_, tenant_id, name, key, payload, headers, occurred_at, _, due_at = event
    micros = None if occurred_at is None else to_micros(occurred_at)
    fields = (id_.bytes, tenant_id, name, key, payload, headers, micros)
    body = _encoder.encode(fields if due_at is None else (*fields, to_micros(due_at)))
    return _FRAME.pack(MARKER, _frame_checksum(body), len(body)) + body


def body_length(frame: bytes) -> int | None:
    """How long the body behind *frame* claims to be; None if this is no frame."""
    if len(frame) < FRAME_SIZE or not frame.startswith(MARKER):
        return None
    _, _, length = _FRAME.unpack(frame)
    return int(length)


def decode(frame: bytes, body: bytes) -> NewEvent | None:
    """The event that `encode` was given; None if a byte is not what it was."""
    if _FRAME.unpack(frame)[1] != _frame_checksum(body):
        return None
    try:
        one = _decoder.decode(body)
        occurred_at, due_at = (
            None if micros is None else from_micros(micros) for micros in (one.occurred_at, one.due_at)
        )
        return NewEvent(
            UUID(bytes=one.id), one.tenant_id, one.name, one.key, one.payload, one.headers, occurred_at, due_at=due_at
        )
    except (msgspec.DecodeError, ValueError, OverflowError):
        return None


def encode_header() -> bytes:
    """The header of a new file."""
    return (PREFIX + encode_head(HEADER_SIZE)).ljust(HEADER_SIZE, b"\0")


def encode_head(head: int) -> bytes:
    """The part of the header, `HEAD_SIZE` bytes from `PREFIX_SIZE` on, that says how far the store has got."""
    return _checked(_HEAD.pack(head))


def decode_head(header: bytes) -> int:
    """How far the store has got; the first record if that is damaged."""
    head = header[PREFIX_SIZE : PREFIX_SIZE + HEAD_SIZE]
    if not is_intact(head):
        return HEADER_SIZE
    (offset,) = _HEAD.unpack_from(head)
    return max(HEADER_SIZE, int(offset))


def is_intact(content: bytes) -> bool:
    """Whether *content* ends in its own checksum."""
    return content == _checked(content[: -_CHECKSUM.size])


def without_first(peeked: list[SpoolRecord], records: Sequence[SpoolRecord]) -> list[SpoolRecord]:
    """What is left of *peeked* when its first ones, *records*, are gone; `ValueError` if they are not."""
    count = len(records)
    if peeked[:count] != list(records):
        raise ValueError("these are not the first records of the last peek(): removing them would lose others")
    return peeked[count:]


def _keys(events: Iterable[NewEvent]) -> Iterator[tuple[str, str]]:
    return ((event.tenant_id, event.key) for event in events if event.key is not None)


def _frame_checksum(body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_LENGTH.pack(len(body))))


def _checked(content: bytes) -> bytes:
    return content + _CHECKSUM.pack(zlib.crc32(content))


PREFIX = _checked(_PREFIX.pack(b"HOLDFAST", 1))
"""Magic, version and their checksum, at the start of each file."""
