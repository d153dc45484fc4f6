"""What a column of either store is in Python: ids, moments, JSON. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.event import from_micros

if TYPE_CHECKING:
    from collections.abc import Sequence


def as_uuid(value: bytes | str) -> UUID:
    """An id as PostgreSQL (16 bytes) or SQLite (text) gives it."""
    return UUID(bytes=value) if isinstance(value, bytes) else UUID(value)


def as_moment(value: int | str) -> datetime:
    """A time as PostgreSQL (microseconds since 2000) or SQLite (ISO text in UTC) gives it."""
    return from_micros(value) if isinstance(value, int) else datetime.fromisoformat(value).astimezone(UTC)


def as_time(value: int | str | None) -> datetime | None:
    """`as_moment`, or None."""
    return None if value is None else as_moment(value)


def as_json(value: bytes | str | None) -> Any:
    """Decoded JSON; what another program stored and is none comes as the text that it is."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def as_texts(value: list[str] | str) -> tuple[str, ...]:
    """An array of PostgreSQL, or the JSON that stands for it in SQLite."""
    return tuple(value if isinstance(value, list) else msgspec.json.decode(value))


def longest(now: int | str, *moments: int | str | None) -> float | None:
    """Seconds since the first of *moments* that are known."""
    seconds = _seconds_since(now, moments)
    return max(seconds) if seconds else None


def shortest(now: int | str, *moments: int | str | None) -> float | None:
    """Seconds since the last of *moments* that are known."""
    seconds = _seconds_since(now, moments)
    return min(seconds) if seconds else None


def _seconds_since(now: int | str, moments: Sequence[int | str | None]) -> list[float]:
    # Never negative: a publisher may date its events into the future.
    return [max(0.0, (as_moment(now) - as_moment(moment)).total_seconds()) for moment in moments if moment is not None]
