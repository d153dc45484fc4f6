"""An id that comes again: the same event once more, or another one under its name? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.encrypted import same_content
from holdfast.erased import MASK
from holdfast.stores.values import Appended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.event import NewEvent


def compare(
    events: Sequence[NewEvent], stored: Sequence[Sequence[Any]], existing: Sequence[Sequence[Any]]
) -> list[Appended]:
    """Tell the events that were *stored* just now from those that repeat or contradict *existing* rows.

    A batch may repeat an id within itself; then the first one is the one that was stored.

    Args:
        stored: Rows that begin with the id, as bytes, text or UUID.
        existing: Rows of id, tenant, name, key and payload.
    """
    fresh = {as_uuid(row[0]) for row in stored}
    known = {as_uuid(row[0]): row for row in existing}
    results = []
    for event in events:
        if event.id in fresh:
            fresh.remove(event.id)
            results.append(Appended.STORED)
        else:
            results.append(repeat(event, known[event.id]))
    return results


def repeat(event: NewEvent, row: Sequence[Any]) -> Appended:
    """What *event* is to the stored *row* under its id."""
    return Appended.DUPLICATE if same(event, row) else Appended.CONFLICT


def same(event: NewEvent, row: Sequence[Any]) -> bool:
    """
    Whether a stored (id, tenant, name, key, payload) says what *event* says, the payload compared as JSON, an
    encrypted one by the hash of it that it carries.

    An erased event has nothing left to compare, and so has an erased copy from a spool. Called a conflict, what was
    erased would be quarantined, and be there once more.
    """
    _, tenant_id, name, key, payload = row
    if (event.tenant_id, event.name, event.key) != (tenant_id, name, key):
        return False
    raw = payload.encode() if isinstance(payload, str) else payload
    if MASK in (raw, event.payload):
        return True
    if (alike := same_content(raw, event.payload)) is not None:
        return alike
    return raw == event.payload or _normal(raw) == _normal(event.payload)


def as_uuid(value: Any) -> UUID:
    """An id as a driver gives it."""
    if isinstance(value, bytes):
        return UUID(bytes=value)
    return value if isinstance(value, UUID) else UUID(str(value))


def _normal(payload: bytes) -> bytes:
    # Encoded again, because Python takes 1, 1.0 and True for equal.
    try:
        return msgspec.json.encode(msgspec.json.decode(payload), order="sorted")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return payload
