"""What a test says of the events that were published."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import InvalidEvent
from holdfast.patterns import Matcher, check_patterns
from holdfast.payload import encode_payload
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.event import Event

_LINES_MAX = 20
_SHOWN_MAX = 100
_MISSING: Any = object()


class PublishedEvents:
    """
    The events that are in the store, by whomever they were published, in their order.

    What a transaction published that was rolled back is not there, nor what is not committed yet. Fields are those of the
    payload: an event is meant that has all of those given, whatever else it has. Values are compared as they are, and as
    they are stored: a UUID is the string that it became.

    Args:
        read: Gives them all.
    """

    def __init__(self, read: Callable[[], Sequence[Event]]) -> None:
        self._read = read

    def events(self, *patterns: str, **fields: Any) -> list[Event]:
        """
        Those whose names match one of *patterns* (all, if none is given) and whose payloads have *fields*.

        Raises:
            InvalidSubscription: A pattern breaks a rule.
        """
        return [event for event in _named(self._read(), patterns) if not _differences(event, fields)]

    @property
    def names(self) -> list[str]:
        """The name of each event."""
        return [event.name for event in self._read()]

    def assert_one(self, pattern: str, /, **fields: Any) -> Event:
        """Exactly one such event was published; it is returned."""
        __tracebackhide__ = True
        (event,) = self.assert_count(1, pattern, **fields)
        return event

    def assert_none(self, *patterns: str, **fields: Any) -> None:
        """No such event was published; without arguments, none at all."""
        __tracebackhide__ = True
        events = self._read()
        if found := [event for event in _named(events, patterns) if not _differences(event, fields)]:
            raise AssertionError(_failure(_asked(patterns, fields), 0, found, events, patterns, fields))

    def assert_count(self, count: int, pattern: str, /, **fields: Any) -> list[Event]:
        """Exactly *count* such events were published; they are returned."""
        __tracebackhide__ = True
        events = self._read()
        found = [event for event in _named(events, (pattern,)) if not _differences(event, fields)]
        if len(found) != count:
            raise AssertionError(_failure(_asked((pattern,), fields), count, found, events, (pattern,), fields))
        return found

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"<PublishedEvents: {', '.join(self.names) or 'none'}>"


def _named(events: Sequence[Event], patterns: Sequence[str]) -> list[Event]:
    if not patterns:
        return list(events)
    matches = Matcher(check_patterns(list(patterns)))
    return [event for event in events if matches(event.name)]


def _differences(event: Event, fields: Mapping[str, Any]) -> list[str]:
    """What keeps an event from having *fields*, in words."""
    if not fields:
        return []
    payload = event.payload
    if not isinstance(payload, dict):
        return [f"the payload is {_short(payload)}, which has no fields"]
    found = []
    for name, expected in fields.items():
        actual = payload.get(name, _MISSING)
        if actual is _MISSING:
            found.append(f"{name} is missing")
        elif not _is_same(actual, expected):
            found.append(f"{name} is {_short(actual)}")
    return found


def _is_same(actual: Any, expected: Any) -> bool:
    if expected == actual:
        return True
    try:
        stored = msgspec.json.decode(encode_payload(expected, limit=2**30))
    except InvalidEvent:  # it may be a matcher of the test's own, which has been asked
        return False
    return bool(stored == actual)


def _asked(patterns: Sequence[str], fields: Mapping[str, Any]) -> str:
    names = " or ".join(f'"{pattern}"' for pattern in patterns) or "any event"
    given = ", ".join(f"{name}={_short(value)}" for name, value in fields.items())
    return f"{names} with {given}" if given else names


def _failure(
    asked: str, expected: int, found: Sequence[Event], events: Sequence[Event], patterns: Sequence[str],
    fields: Mapping[str, Any],
) -> str:  # fmt: skip
    lines = [_headline(asked, len(found), expected)]
    if not events:
        return f"{lines[0]}; nothing was published at all"
    close = _close_names(events, patterns) if not found else []
    if close:
        lines.append(f"did you mean {' or '.join(close)}?")
    width = max(len(event.name) for event in events)
    near = {id(event) for event in _named(events, patterns)}
    chosen = sorted(events, key=lambda event: id(event) not in near)  # stable: near misses first, each in its order
    lines += ["", "published:"]
    for event in chosen[:_LINES_MAX]:
        differs = ", ".join(_differences(event, fields)) if id(event) in near else ""
        lines.append(f"  {event.name:{width}}  {_short(event.payload)}{f'   ({differs})' if differs else ''}")
    if len(chosen) > _LINES_MAX:
        lines.append(f"  ... and {counted(len(chosen) - _LINES_MAX, 'event')} more")
    return "\n".join(lines)


def _headline(asked: str, count: int, expected: int) -> str:
    if not count:
        return f"{asked} was not published"
    if not expected:
        return f"{asked} was published {_times(count)}, and was not to be"
    return f"{asked} was published {_times(count)}, not {_times(expected)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _close_names(events: Sequence[Event], patterns: Sequence[str]) -> list[str]:
    names = sorted({event.name for event in events})
    return [
        f'"{name}"'
        for pattern in patterns
        if "*" not in pattern and pattern not in names
        for name in get_close_matches(pattern, names, n=2)
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 3]}..."
