"""Patterns of event names: what a subscription listens to. Pure, and linear in the length of pattern and name.

A pattern is a name in which a whole segment may be ``*`` (exactly one segment, anywhere) and the last one ``**``
(one or more segments). ``**`` alone is everything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from holdfast.errors import InvalidSubscription
from holdfast.event_types import event_type_of
from holdfast.names import NAME_LENGTH_MAX, SEGMENT, shown, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

Patterns = str | type[Any] | Sequence[str | type[Any]]
"""A pattern, a type that was declared as an event and stands for its name, or a list of them."""

PATTERNS_MAX = 100
PATTERN_RULE = (
    f"use segments of A-Z a-z 0-9 _ : / - joined by '.', at most {NAME_LENGTH_MAX} characters; "
    f"'*' stands for one whole segment, '**' only at the end for one or more"
)
_COUNT_RULE = f"use one pattern or a list of 1 to {PATTERNS_MAX}"

_LITERAL = re.compile(SEGMENT)
_ONE = r"[^.]+"
_MANY = r"[^.]+(?:\.[^.]+)*"


def check_pattern(pattern: object) -> str:
    """The pattern, if it follows `PATTERN_RULE`.

    Raises:
        InvalidSubscription: With field ``patterns``.
    """
    return _checked(pattern, "patterns")


def check_patterns(patterns: object) -> tuple[str, ...]:
    """One pattern, or a list or tuple of them, without repetitions and in the order given.

    Raises:
        InvalidSubscription: With field ``patterns``, or ``patterns[3]`` for a member; also for none and for more
            than 100 different ones.
    """
    if isinstance(patterns, str) or event_type_of(patterns) is not None:
        return (check_pattern(patterns),)
    if callable(patterns):
        raise InvalidSubscription(
            "patterns", "is a function", 'write @bus.subscribe("order.placed") with an event name'
        )
    if not isinstance(patterns, list | tuple):
        raise InvalidSubscription("patterns", f"is of type {type_name(patterns)}", _COUNT_RULE)
    checked = tuple(dict.fromkeys(_checked(pattern, f"patterns[{place}]") for place, pattern in enumerate(patterns)))
    if not 1 <= len(checked) <= PATTERNS_MAX:
        raise InvalidSubscription("patterns", f"has {len(checked)} patterns", _COUNT_RULE)
    return checked


def matches(pattern: str, name: str) -> bool:
    """Whether a valid *pattern* stands for the event *name*."""
    wanted, found = pattern.split("."), name.split(".")
    if wanted[-1] == "**":
        wanted.pop()
        if len(found) <= len(wanted):
            return False
        wanted += ["*"] * (len(found) - len(wanted))
    return len(wanted) == len(found) and all(
        bool(there) if want == "*" else want == there for want, there in zip(wanted, found, strict=True)
    )


def to_regex(pattern: str) -> str:
    """The anchored regular expression of a valid *pattern*.

    It means the same to Python's ``re.fullmatch`` and to ``~`` in PostgreSQL: only literals, ``[^.]`` and groups
    that do not capture, and no way to split a name in two, so nothing to backtrack into.
    """
    parts = {"*": _ONE, "**": _MANY}
    return "^" + r"\.".join(parts.get(segment, segment) for segment in pattern.split(".")) + "$"


class Matcher:
    """Whether any of some valid patterns stands for a name: ``matcher("order.placed")``.

    Cost: a cache of 4096 names answers most calls; else one set lookup and at most one regular expression.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = frozenset(pattern for pattern in self.patterns if "*" not in pattern)
        wild = [to_regex(pattern) for pattern in self.patterns if "*" in pattern]
        self._wild = re.compile("|".join(wild)) if wild else None
        self._cached = lru_cache(maxsize=4096)(self._decide)

    def __call__(self, name: str) -> bool:
        return self._cached(name)

    def _decide(self, name: str) -> bool:
        return name in self._exact or (self._wild is not None and self._wild.fullmatch(name) is not None)


def _checked(pattern: object, field: str) -> str:
    if (kind := event_type_of(pattern)) is not None:
        pattern = kind.name
    if not isinstance(pattern, str):
        raise InvalidSubscription(field, f"is of type {type_name(pattern)}", PATTERN_RULE)
    text = str.__str__(pattern)
    if not text:
        raise InvalidSubscription(field, "is empty", PATTERN_RULE)
    if len(text) > NAME_LENGTH_MAX:
        raise InvalidSubscription(field, f"{shown(text)} has {len(text)} characters", PATTERN_RULE)
    *others, last = text.split(".")
    for segment in others:
        _check_segment(segment, ("*",), text, field)
    _check_segment(last, ("*", "**"), text, field)
    return text


def _check_segment(segment: str, wildcards: tuple[str, ...], pattern: str, field: str) -> None:
    if segment in wildcards or _LITERAL.fullmatch(segment):
        return
    if not segment:
        flaw = "an empty segment"
    elif segment == "**":
        flaw = "'**' before its end"
    else:
        flaw = f"the segment {shown(segment)}"
    raise InvalidSubscription(field, f"{shown(pattern)} has {flaw}", PATTERN_RULE)
