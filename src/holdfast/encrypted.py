"""What an encrypted payload looks like, how it is told from others, how two of them compare. Pure, and needs no key.

It is JSON all the same, an object with one text, so that every store, spool and program carries it as it carries others::

    {"holdfast.encrypted":"<Base64 of: kind | key | content | nonce | sealed>"}

=========  =====  ====================================================================================================
kind       1      1: under a subject's key; 2: in the spool, under a key of the process that wrote it
key        16     kind 1: id of the data key. Kind 2: the length of what follows in 2 bytes, then the key, wrapped
content    16     keyed hash of who and what: the same id and content again is known by it (kind 1 only)
nonce      12     random
sealed     16 +   AES-256-GCM of the JSON text, with its tag; bound to the event's id, tenant, name and key
=========  =====  ====================================================================================================
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from holdfast.errors import MalformedEvent, PayloadLocked

if TYPE_CHECKING:
    from uuid import UUID

    from holdfast.errors import HoldfastError

_NAME = "holdfast.encrypted"
BEGINNING = b'{"%b":' % _NAME.encode()
"""How every such payload begins, and no other: written nowhere else."""

_OPEN, _CLOSE = BEGINNING + b'"', b'"}'
_SUBJECT, _SPOOL = 1, 2
_FIXED = 1 + 16 + 16 + 12
_TAG = 16

NO_KEYS = "this reader has no keys: EventBus(encryption=...), HOLDFAST_MASTER_KEYS_FILE"
NO_KEY = "its key, or the master key of that, is not here"
CHANGED = "it was changed, or belongs to another event"


class Sealed(NamedTuple):
    """A payload under a subject's key, taken apart."""

    key_id: bytes
    content: bytes
    nonce: bytes
    sealed: bytes


class Spooled(NamedTuple):
    """A payload on its way through a spool. ``wrapped``: the key of the process that wrote it, as its provider gave it."""

    master: str
    wrapped: bytes
    nonce: bytes
    sealed: bytes


def encoded(sealed: Sealed) -> bytes:
    """The payload as JSON text."""
    return _text(b"\x01" + sealed.key_id + sealed.content + sealed.nonce + sealed.sealed)


def encoded_for_spool(spooled: Spooled) -> bytes:
    """The same for a payload that waits in a spool."""
    head = msgspec.json.encode((spooled.master, b2a_base64(spooled.wrapped, newline=False).decode()))
    return _text(b"\x02" + len(head).to_bytes(2, "big") + head + spooled.nonce + spooled.sealed)


def decoded(payload: bytes) -> Sealed | Spooled | None:
    """What `encoded` or `encoded_for_spool` was given; None for any other payload, a damaged one too."""
    if not (payload.startswith(_OPEN) and payload.endswith(_CLOSE)):
        return None
    try:
        raw = a2b_base64(payload[len(_OPEN) : -len(_CLOSE)], strict_mode=True)
    except Error:
        return None
    if raw[:1] == b"\x01" and len(raw) >= _FIXED + _TAG:
        return Sealed(raw[1:17], raw[17:33], raw[33:45], raw[45:])
    return _spooled(raw) if raw[:1] == b"\x02" else None


def _spooled(raw: bytes) -> Spooled | None:
    start = 3 + int.from_bytes(raw[1:3], "big")
    try:
        master, wrapped = msgspec.json.decode(raw[3:start], type=tuple[str, str])
        key = a2b_base64(wrapped.encode(), strict_mode=True)
    except (msgspec.DecodeError, UnicodeDecodeError, Error):
        return None
    nonce, sealed = raw[start : start + 12], raw[start + 12 :]
    return Spooled(master, key, nonce, sealed) if len(sealed) >= _TAG else None


def _text(raw: bytes) -> bytes:
    return _OPEN + b2a_base64(raw, newline=False) + _CLOSE


def is_encrypted(payload: bytes) -> bool:
    return payload.startswith(BEGINNING)


def same_content(one: bytes, other: bytes) -> bool | None:
    """
    Whether two payloads of one id, tenant, name and key say the same; None unless both are encrypted.

    A subject has one key at a time: where the keys differ, the subject was erased between the two, and of an erased
    event a repeat is a duplicate.
    """
    first, second = decoded(one), decoded(other)
    if not (isinstance(first, Sealed) and isinstance(second, Sealed)):
        return None
    return first.key_id != second.key_id or first.content == second.content


def locked(because: str) -> bytes:
    """What a reader puts in place of a payload that it cannot decrypt. Never stored."""
    return BEGINNING + b'null,"because":' + msgspec.json.encode(because) + b"}"


def unreadable(event_id: UUID, payload: bytes) -> HoldfastError:
    """The error for whoever asks for the content of a payload that is still encrypted."""
    because = NO_KEYS if decoded(payload) else next((one for one in (NO_KEYS, NO_KEY) if payload == locked(one)), None)
    if because is None:
        return MalformedEvent(event_id, "payload", f"it is encrypted, and {CHANGED}")
    return PayloadLocked(event_id, because)


def is_sealed(payload: object) -> bool:
    """`is_encrypted`, of a payload that was decoded from JSON."""
    return isinstance(payload, dict) and payload.keys() == {_NAME}
