"""Between the texts of the database and the bytes and numbers of the engine. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from holdfast.event import Row, to_micros
from holdfast.stores.values import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.stores.values import Slice

MAX_POSITION = 2**63 - 1
_SLOT_MASK = 0x7FFF


def id_text(event_id: bytes) -> str:
    """The id as the tables keep it: hyphenated, in lower case."""
    digits = event_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_bytes(text: str) -> bytes:
    """The 16 bytes of an id that this package wrote."""
    return bytes.fromhex(text.replace("-", ""))


def slot_of(tenant_id: str, key: str | None, event_id: bytes) -> int:
    """Hash of tenant and key, of tenant and id where there is no key: 0 to 32767. Partition: slot modulo their number."""
    return slot_of_texts(tenant_id.encode(), None if key is None else key.encode(), id_text(event_id).encode())


def slot_of_texts(tenant_id: bytes, key: bytes | None, event_id: bytes) -> int:
    """The same of stored texts as they are, which another program may have written in no known encoding."""
    return crc32(b"%b\x1f%b" % (tenant_id, event_id if key is None else key)) & _SLOT_MASK


def slot_of_row(tenant_id: bytes | None, key: bytes | None, event_id: bytes | None) -> int | None:
    """For statements; null for the null row of an outer join."""
    return None if tenant_id is None or event_id is None else slot_of_texts(tenant_id, key, event_id)


def time_text(moment: datetime) -> str:
    """An aware datetime as the tables keep it; such texts sort as their times do."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def row_of(
    position: int,
    event_id: bytes,
    occurred_at: bytes | None,
    tenant_id: bytes,
    name: bytes,
    key: bytes | None,
    payload: bytes | None,
    headers: bytes | None,
) -> Row:
    """
    The event of one record of the log, all texts read as bytes.

    A record that another program wrote with the checks switched off must not stop the reader: it gets what can be
    given and an empty payload, which no handler can decode, so its delivery ends dead and visible.
    """
    slot = slot_of_texts(tenant_id, key, event_id)
    raw_id, micros = _id_or_none(event_id), _micros_or_none(occurred_at)
    if raw_id is None or micros is None or payload is None:
        raw_id, micros, payload = raw_id or blake2b(event_id, digest_size=16).digest(), micros or 0, b""
    return Row(
        position, raw_id, 0, slot, micros, _text(tenant_id), _text(name), None if key is None else _text(key),
        payload, headers,
    )  # fmt: skip


def _id_or_none(text: bytes) -> bytes | None:
    try:
        raw = bytes.fromhex(text.decode("ascii").replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == 16 else None


def _micros_or_none(text: bytes | None) -> int | None:
    try:
        return None if text is None else to_micros(datetime.fromisoformat(text.decode("ascii")))
    except (ValueError, TypeError):
        return None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def cursor_of(done: int, open_: int | None, position: int) -> Cursor:
    return Cursor(str(done), None if open_ is None else str(open_), position)


def json_text(value: object) -> str:
    """JSON for a parameter that ``json_each`` takes apart."""
    return msgspec.json.encode(value).decode()


def slices_json(slices: Iterable[Slice]) -> str:
    """``[[subscription, partition], ...]``."""
    return json_text([[subscription, partition] for subscription, partition in slices])


def leases_json(epochs: Mapping[Slice, int]) -> str:
    """``[[subscription, partition, epoch], ...]``."""
    return json_text([[*one, epoch] for one, epoch in epochs.items()])
