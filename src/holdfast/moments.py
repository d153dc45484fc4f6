"""Times and lengths of time as people write them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from holdfast.errors import InvalidInput
from holdfast.names import shown

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def duration(text: str, *, field: str = "duration") -> float:
    """Seconds, from texts such as 90s, 15m, 2h, 30d, 1w. Raises InvalidInput."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(field, f"{shown(text)} is no duration", "write 90s, 15m, 2h, 30d or 1w")
    return float(match[1]) * _UNITS[match[2]]


def written(seconds: float) -> str:
    """A text that `duration` reads as so many seconds, a whole number, in the largest unit that does: ``30d``."""
    whole = round(seconds)
    unit = next((unit for unit in "dhm" if whole and whole % _UNITS[unit] == 0), "s")
    return f"{whole // round(_UNITS[unit])}{unit}"


def moment(text: str, *, now: datetime, field: str = "time", is_later: bool = False) -> datetime:
    """
    An aware datetime: ISO 8601 (UTC where no offset is given), or how long before *now*, after it if *is_later*.

    Raises:
        InvalidInput: With *field*.
    """
    try:
        if _DURATION.fullmatch(text.strip()):
            away = timedelta(seconds=duration(text))
            return now + away if is_later else now - away
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        rule = f"write 2030-01-31T12:00:00Z, 2030-01-31, or 2h for {'in two hours' if is_later else 'two hours ago'}"
        raise InvalidInput(field, f"{shown(text)} is no time", rule) from error
