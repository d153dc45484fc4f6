"""From rows of either store to events, days and times."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from holdfast.event import EPOCH, to_micros
from holdfast.sealing.chain import ABSENT, LoggedEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_DAY, LAST_DAY = "0001-01-01", "9999-12-31"


def as_event(row: Sequence[Any]) -> LoggedEvent:
    """
    A row of ``log_page`` or ``seal_page``.

    Whoever switched the checks off can write what is no id, no time or no text at all: it is read as something that no
    sound event is, so it shows as edited.
    """
    position, event_id, day, occurred_at, tenant_id, name, key, headers, payload = row
    if not isinstance(occurred_at, int):  # SQLite keeps ids and times as texts; all texts come as bytes
        event_id, occurred_at = _id_of(event_id), _micros_of(occurred_at)
        tenant_id, name, key = _text(tenant_id), _text(name), None if key is None else _text(key)
    return LoggedEvent(
        position, event_id, None if day is None else as_day(day), occurred_at, tenant_id, name, key, headers or ABSENT,
        payload or ABSENT,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def as_day(value: int | str) -> date:
    """A day as PostgreSQL (days since 2000) or SQLite (ISO text) gives it."""
    return (EPOCH + timedelta(days=value)).date() if isinstance(value, int) else date.fromisoformat(value)


def _id_of(text: bytes) -> bytes:
    try:
        found = bytes.fromhex(text.decode().replace("-", ""))
    except ValueError:
        found = b""
    return found if len(found) == 16 else sha256(text).digest()[:16]


def _micros_of(text: bytes | None) -> int:
    try:
        return 0 if text is None else to_micros(datetime.fromisoformat(text.decode()))
    except (ValueError, TypeError):
        return 0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
