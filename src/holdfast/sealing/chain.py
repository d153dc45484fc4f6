"""What is hashed, byte for byte: events, entries, links. Pure; docs/tamper-evidence.md says the same for other programs."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

DIGEST_BYTES = 32
ABSENT = bytes(DIGEST_BYTES)
"""In place of the digest of headers that an event has not."""
GENESIS = bytes(DIGEST_BYTES)
"""What the first link of a day's chain follows."""

_EVENT, _SEGMENT = b"holdfast event 1\0", b"holdfast segment 1\0"
_NUMBERS = Struct(">q16sq")
_LENGTH = Struct(">I")
_NULL = b"\xff\xff\xff\xff"
_ENTRY = Struct(">q16s32s32s32s")
_LINK = Struct(">32s10sIIqq32s")

ENTRY_BYTES = _ENTRY.size


@lru_cache(maxsize=4096)  # tenants, names and most keys come again and again
def measured(text: str) -> bytes:
    """A text in UTF-8 behind its length in bytes."""
    raw = text.encode()
    return _LENGTH.pack(len(raw)) + raw


class LoggedEvent(NamedTuple):
    """An event of the log: what it says of itself, and the digests of what it carries.

    ``occurred_at``: microseconds since 2000-01-01 UTC. ``day``: of its partition, None where the store has none.
    """

    position: int
    id: bytes
    day: date | None
    occurred_at: int
    tenant_id: str
    name: str
    key: str | None
    headers: bytes
    payload: bytes

    @property
    def identity(self) -> bytes:
        """Digest of position, id, time, tenant, name and key: each text behind its length, so that none runs into the next."""
        numbers = _NUMBERS.pack(self.position, self.id, self.occurred_at)
        key = _NULL if self.key is None else measured(self.key)
        return sha256(_EVENT + numbers + measured(self.tenant_id) + measured(self.name) + key).digest()

    @property
    def packed(self) -> bytes:
        """What a seal keeps of it: an `Entry` in 120 bytes."""
        return _ENTRY.pack(self.position, self.id, self.identity, self.headers, self.payload)


class Entry(NamedTuple):
    """What a seal keeps of an event: enough to name it when it is gone, and to tell which part was changed."""

    position: int
    id: bytes
    identity: bytes
    headers: bytes
    payload: bytes


class Segment(NamedTuple):
    """A link of a day's chain: up to some thousand events that were sealed together.

    ``digest`` is that of the packed entries. ``head`` is that of all else and of the head before.
    """

    day: date
    number: int
    events: int
    first: int
    last: int
    digest: bytes
    head: bytes


def unpacked(entries: bytes) -> Iterator[Entry]:
    """
    The entries of a segment, one `LoggedEvent.packed` behind the other.

    Raises:
        struct.error: The length is no multiple of `ENTRY_BYTES`.
    """
    return map(Entry._make, _ENTRY.iter_unpack(entries))


def link(head: bytes, day: date, number: int, first: int, last: int, entries: bytes) -> Segment:
    """The link that follows *head*, of packed entries whose lowest and highest position are *first* and *last*."""
    digest, events = sha256(entries).digest(), len(entries) // ENTRY_BYTES
    return Segment(day, number, events, first, last, digest, head_of(head, day, number, events, first, last, digest))


def head_of(before: bytes, day: date, number: int, events: int, first: int, last: int, digest: bytes) -> bytes:
    """The head of a chain with this link at its end."""
    numbers = _LINK.pack(before, day.isoformat().encode(), number, events, first, last, digest)
    return sha256(_SEGMENT + numbers).digest()


def differences(entry: Entry, event: LoggedEvent, day: date) -> tuple[str, ...]:
    """Which parts of an event are not as they were sealed for *day*, as far as digests tell."""
    found = []
    if event.id != entry.id:
        found.append("id")
    elif event.identity != entry.identity:
        found.append("tenant, name, key or time")
    if event.day is not None and event.day != day:
        found.append("day")
    if event.headers != entry.headers:
        found.append("headers")
    if event.payload != entry.payload:
        found.append("payload")
    return tuple(found)
