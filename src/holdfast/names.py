"""The rules for names, tenants, keys, ids and times. Pure: each check returns the value to use, or raises.

What is accepted comes back in its plain form (an exact ``str``, ``UUID`` or UTC ``datetime``), so that members of
a ``StrEnum`` or a driver's own UUID class can be given and nothing behind the door meets them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from holdfast.errors import InvalidEvent, InvalidSubscription

SEGMENT = "[A-Za-z0-9_:/-]+"
"""One segment of an event name, as a regular expression."""

NAME_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 255
DELAY_MAX = 366 * 100 * 86_400  # seconds

NAME_RULE = f"use segments of A-Z a-z 0-9 _ : / - joined by '.', at most {NAME_LENGTH_MAX} characters"
_TEXT_RULE = f"use 1 to {TEXT_LENGTH_MAX} characters, no U+0000 and no lone surrogates"
_ID_RULE = "use a UUID, or its text such as '0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41', and not the nil UUID"
_TIME_RULE = "use an aware datetime, or ISO 8601 text with an offset, that lies in the years 1 to 9999 in UTC"
_SUBSCRIPTION_RULE = f"use 1 to {NAME_LENGTH_MAX} characters of A-Z a-z 0-9 _ . : / < > -"

_NAME = re.compile(rf"{SEGMENT}(?:\.{SEGMENT})*")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_:/.-]")
_SUBSCRIPTION_NAME = re.compile(r"[A-Za-z0-9_.:/<>-]+")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-?)[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{12}")
_SURROGATE = re.compile("[\ud800-\udfff]")

_SHOWN_MAX = 60
_NIL = UUID(int=0)


def check_name(name: object, index: int | None = None) -> str:
    """The event name, if it follows `NAME_RULE`.

    Args:
        name: Any object.
        index: Position in a ``publish_many``, for the error.

    Raises:
        InvalidEvent: With field ``name``.

    Cost: one look into a bounded cache of valid names.
    """
    try:
        return _valid_name(_plain_text(name))
    except (TypeError, ValueError) as refused:
        raise InvalidEvent("name", str(refused), NAME_RULE, index) from None


def check_tenant(tenant_id: object, index: int | None = None) -> str:
    """The tenant: 1 to 255 characters, no U+0000, no lone surrogates. Raises InvalidEvent (``tenant_id``)."""
    return _check_text(tenant_id, "tenant_id", index)


def check_key(key: object, index: int | None = None) -> str | None:
    """The ordering key: None, or as a tenant. Raises InvalidEvent (``key``)."""
    return None if key is None else _check_text(key, "key", index)


def check_event_id(event_id: object, index: int | None = None) -> UUID:
    """The id of an event from a UUID or its text: hyphens in their places or none, either case, nothing else.

    Raises:
        InvalidEvent: With field ``event_id``; malformed, or the nil UUID.
    """
    if isinstance(event_id, UUID):
        found = event_id if type(event_id) is UUID else UUID(int=event_id.int)
    elif isinstance(event_id, str):
        if _UUID.fullmatch(event_id) is None:
            raise InvalidEvent("event_id", f"{shown(event_id)} is not a UUID", _ID_RULE, index)
        found = UUID(event_id)
    else:
        raise InvalidEvent("event_id", f"is of type {type_name(event_id)}", _ID_RULE, index)
    if found == _NIL:
        raise InvalidEvent("event_id", "is the nil UUID", _ID_RULE, index)
    return found


def check_occurred_at(occurred_at: object, index: int | None = None) -> datetime:
    """The moment in UTC, exact to the microsecond; digits of text beyond that are cut off.

    Args:
        occurred_at: An aware datetime, or ISO 8601 text with an offset (for events read from JSON).
        index: Position in a ``publish_many``, for the error.

    Raises:
        InvalidEvent: With field ``occurred_at``; naive, malformed, or outside the years 1 to 9999 in UTC.
    """
    return _check_moment(occurred_at, "occurred_at", index)


def check_due(deliver_at: object, delay: object, now: datetime, index: int | None = None) -> datetime | None:
    """
    When an event is to come into the log, in UTC; None: at once, as its time has come.

    Args:
        deliver_at: As *occurred_at* of `check_occurred_at`, or None.
        delay: Seconds from *now*, or None.

    Raises:
        InvalidEvent: With field ``deliver_at`` or ``delay``.
    """
    if delay is None:
        due = _check_moment(deliver_at, "deliver_at", index)
    elif deliver_at is not None:
        raise InvalidEvent("delay", "is given, and so is deliver_at", "give one of them", index)
    # Compared before anything else: NaN is within no bounds, and a huge integer is no float.
    elif isinstance(delay, int | float) and not isinstance(delay, bool) and 0 <= delay <= DELAY_MAX:
        due = now + timedelta(seconds=delay)
    else:
        raise InvalidEvent("delay", f"is {shown_value(delay)}", f"use seconds, 0 to {DELAY_MAX:,}", index)
    return due if due > now else None


def _check_moment(value: object, field: str, index: int | None) -> datetime:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidEvent(field, f"{shown(value)} is not a time", _TIME_RULE, index) from None
    elif isinstance(value, datetime):
        moment = value
    else:
        raise InvalidEvent(field, f"is of type {type_name(value)}", _TIME_RULE, index)
    if moment.utcoffset() is None:
        raise InvalidEvent(field, "is naive: it has no offset from UTC", _TIME_RULE, index)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent(
            field, f"{moment.isoformat()} leaves the years 1 to 9999 in UTC", _TIME_RULE, index
        ) from None


def check_subscription_name(name: object) -> str:
    """The durable name of a subscription: 1 to 200 characters of ``A-Z a-z 0-9 _ . : / < > -``.

    Raises:
        InvalidSubscription: With field ``name``.
    """
    try:
        text = _plain_text(name)
    except TypeError as refused:
        raise InvalidSubscription("name", str(refused), _SUBSCRIPTION_RULE) from None
    if not text:
        raise InvalidSubscription("name", "is empty", _SUBSCRIPTION_RULE)
    if len(text) > NAME_LENGTH_MAX:
        raise InvalidSubscription("name", f"{shown(text)} has {len(text)} characters", _SUBSCRIPTION_RULE)
    if _SUBSCRIPTION_NAME.fullmatch(text) is None:
        raise InvalidSubscription("name", f"{shown(text)} has a character outside the rule", _SUBSCRIPTION_RULE)
    return text


def text_problem(text: str) -> str | None:
    """What keeps *text* out of a store, and where (characters counted from 0), or None.

    PostgreSQL holds no U+0000 in text, and lone surrogates have no UTF-8. The text itself is not shown.
    """
    if "\0" in text:
        return f"has the character U+0000 at position {text.index(chr(0))}"
    if not text.isascii() and (found := _SURROGATE.search(text)) is not None:
        return f"has the lone surrogate U+{ord(found[0]):04X} at position {found.start()}"
    return None


def shown(text: str) -> str:
    """*text* as an error may show it: escaped, at most 60 characters."""
    quoted = repr(text[:_SHOWN_MAX])
    return quoted if len(text) <= _SHOWN_MAX and len(quoted) <= _SHOWN_MAX else f"{quoted[: _SHOWN_MAX - 3]}..."


def shown_value(value: object) -> str:
    """Any value as an error may show it: at most 60 characters, and never an error of its own."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - Python refuses to write very large integers; other objects refuse as they like
        text = f"a value of type {type_name(value)} that cannot be shown"
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 3]}..."


def type_name(value: object) -> str:
    """The type of *value* with its module, unless that is ``builtins``."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _plain_text(value: object) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        # Not str(value): a subclass may say something else there, as str Enums do.
        return str.__str__(value)
    raise TypeError(f"is of type {type_name(value)}")


@lru_cache(maxsize=4096)
def _valid_name(name: str) -> str:
    """The name itself. A refused one raises, and so never takes a place in the cache."""
    if not name:
        raise ValueError("is empty")
    if len(name) > NAME_LENGTH_MAX:
        raise ValueError(f"{shown(name)} has {len(name)} characters")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{shown(name)} {_flaw(name)}")
    return name


def _flaw(name: str) -> str:
    strange = _NOT_IN_NAME.search(name)
    if strange is not None:
        return f"has the character {strange[0]!a} at position {strange.start()}"
    return "has an empty segment"


def _check_text(value: object, field: str, index: int | None) -> str:
    if type(value) is str and 0 < len(value) <= TEXT_LENGTH_MAX and value.isascii() and "\0" not in value:
        return value
    try:
        text = _plain_text(value)
    except TypeError as refused:
        raise InvalidEvent(field, str(refused), _TEXT_RULE, index) from None
    problem = text_problem(text)
    if not 0 < len(text) <= TEXT_LENGTH_MAX:
        problem = f"has {len(text)} characters"
    if problem is not None:
        raise InvalidEvent(field, problem, _TEXT_RULE, index)
    return text
