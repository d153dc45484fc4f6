"""Payloads and headers become JSON text that every store keeps and every reader reads alike. Pure, no I/O.

Almost every payload is plain: exact ``dict``, ``list``, ``tuple``, ``str``, ``int``, ``float``, ``bool``, None.
One quick look settles that, and the encoder does the rest in C. Anything else takes a second, slower pass, which
turns the documented types into strings, or finds the path of what cannot be stored.

| given | stored as |
| --- | --- |
| dict and other mappings with string keys | object |
| list, tuple | array |
| str, bool, None, finite float | as it is; a float comes back exactly |
| int from -2**63 to 2**63 - 1 | number; beyond it other languages and SQL bigint lose digits, unsigned 64 bit included |
| aware datetime, date | ISO 8601 string as ``isoformat()`` gives it |
| UUID | string with hyphens |
| finite Decimal | string, so that no digit is lost |
| Enum | its value, by these same rules |
| bytes, bytearray as the whole payload | taken as JSON text in UTF-8, checked, kept as written |
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any
from uuid import UUID

import msgspec

from holdfast.errors import InvalidEvent, PayloadTooLarge
from holdfast.names import text_problem, type_name

DEPTH_MAX = 64
HEADERS_MAX = 64
HEADER_NAME_MAX = 200
HEADER_VALUE_MAX = 4096

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_STEP_MAX = 40

_TYPES_RULE = "use dict, list, str, int, float, bool, None, datetime, date, UUID, Decimal or Enum"
_TEXT_RULE = "remove it: text may hold neither U+0000 nor lone surrogates"
_KEY_RULE = "keys must be strings, each once in its object"
_INT_RULE = "use -2**63 to 2**63 - 1; send larger ones as strings"
_FINITE_RULE = "use a finite number, or None"
_TIME_RULE = "use an aware one, such as datetime.now(UTC)"
_DEPTH_RULE = f"at most {DEPTH_MAX} containers may be nested, and none may contain itself"
_BYTES_RULE = "bytes as a whole payload must be one JSON text in UTF-8"
_LINE_RULE = "write one JSON object a line, in UTF-8"
_HEADERS_RULE = (
    f"use a mapping of at most {HEADERS_MAX} strings to strings: names of 1 to {HEADER_NAME_MAX} characters, "
    f"values of at most {HEADER_VALUE_MAX}"
)

_encode = msgspec.json.Encoder().encode


class _Fault(Exception):
    """A broken rule on its way out; each container that it passes adds its step, so the path costs nothing before."""

    def __init__(self, problem: str, rule: str, *steps: str | int) -> None:
        super().__init__(problem, rule)
        self.problem, self.rule = problem, rule
        self.steps = list(steps)

    def error(self, root: str, index: int | None) -> InvalidEvent:
        path = root + "".join(map(_step_text, reversed(self.steps)))
        return InvalidEvent(path, self.problem, self.rule, index)


class _Pairs(list[tuple[str, Any]]):
    """The members of a parsed JSON object as they were written, repeated keys included."""


def encode_payload(value: object, *, limit: int, index: int | None = None) -> bytes:
    """The payload as JSON text in UTF-8 (the module's docstring says how each type is stored).

    Args:
        value: The payload. ``bytes`` and ``bytearray`` are JSON text already.
        limit: Bytes of JSON text allowed.
        index: Position in a ``publish_many``, for the errors.

    Raises:
        InvalidEvent: ``field`` is the path of the offender, such as ``payload.items[3].price``. No value is shown.
        PayloadTooLarge: The text has more than *limit* bytes.

    Cost: about 2 µs for a flat dict of 8 items, about 10 µs where the second pass is needed or JSON text is given.
    """
    try:
        if isinstance(value, bytes | bytearray):
            encoded = _checked_text(bytes(value), limit, index)
        else:
            encoded = _encode_plain(value) or _encode(_normalised(value, 0))
    except _Fault as fault:
        raise fault.error("payload", index) from None
    if len(encoded) > limit:
        raise PayloadTooLarge(len(encoded), limit, index)
    return encoded


def parse_line(raw: bytes) -> dict[str, Any]:
    """
    The fields of an event, from a JSON object in UTF-8 that has its payload as a member.

    Raises:
        InvalidEvent: It is none, or a rule for payloads is broken anywhere in it: a key twice in its object, NaN,
            U+0000. ``field`` is the path, such as ``payload.items[3]``; empty where it is the whole that is wrong.
    """
    try:
        parsed = _parsed(raw)
        if not isinstance(parsed, _Pairs):
            raise _Fault("is no JSON object", _LINE_RULE)
        return _object(parsed, 0)  # one container more than the payload may have
    except _Fault as fault:
        if not fault.steps and fault.rule == _BYTES_RULE:
            fault.rule = _LINE_RULE
        path = fault.error("", None).field.removeprefix(".")
        raise InvalidEvent(path, fault.problem, fault.rule) from None


def encode_headers(headers: Mapping[str, str] | None, index: int | None = None) -> bytes | None:
    """The headers as JSON text in UTF-8; None where there are none.

    Args:
        headers: At most 64, names of 1 to 200 characters, values of at most 4096.
        index: Position in a ``publish_many``, for the errors.

    Raises:
        InvalidEvent: ``field`` is ``headers`` or a path in it, such as ``headers["x-trace"]``.
    """
    if headers is None:
        return None
    try:
        checked = _checked_headers(headers)
    except _Fault as fault:
        raise fault.error("headers", index) from None
    return _encode(checked) if checked else None


def _encode_plain(value: object) -> bytes | None:
    """The JSON text, or None where the slower pass must decide."""
    if not _is_plain(value, DEPTH_MAX):
        return None
    try:
        encoded = _encode(value)
    except UnicodeEncodeError:  # a lone surrogate: the slower pass finds its place
        return None
    # One search in C instead of one in every string. Six harmless characters that look so only cost the slower pass.
    return None if b"\\u0000" in encoded else encoded


def _is_plain(value: Any, room: int) -> bool:
    """Whether all is of exact JSON types and in range. Exact: msgspec has its own ideas of subclasses and NaN."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        in_range: bool = _INT_MIN <= value <= _INT_MAX
        return in_range
    if kind is float:
        return isfinite(value)
    # Loops that end at the first offender: a container that holds itself twice would else be walked 2**64 times.
    if kind is dict and room:
        for key, item in value.items():
            # Strings are asked for here, too, because most items are: it saves a call for each.
            if type(key) is not str or not (type(item) is str or _is_plain(item, room - 1)):
                return False
        return True
    if (kind is list or kind is tuple) and room:
        for item in value:  # noqa: SIM110 - all() would make a generator for each list
            if not (type(item) is str or _is_plain(item, room - 1)):
                return False
        return True
    return False


def _normalised(value: object, depth: int) -> Any:
    """A copy of exact JSON types, *depth* containers down; raises `_Fault` at the first offender."""
    match value:
        case None | bool():
            return value
        case Enum():
            return _normalised(value.value, depth)
        case str():
            return _checked_string(value)
        case int():
            return _checked_int(int.__int__(value))
        case float():
            return _checked_float(float.__float__(value))
        case _Pairs():
            return _object(value, depth + 1)
        case Mapping():
            return _object(value.items(), depth + 1)
        case list() | tuple():
            return _array(value, depth + 1)
        case _:
            return _string_of(value)


def _object(members: Iterable[tuple[object, object]], depth: int) -> dict[str, Any]:
    _check_depth(depth)
    result: dict[str, Any] = {}
    for key, item in members:
        name = _checked_key(key, result)
        try:
            result[name] = _normalised(item, depth)
        except _Fault as fault:
            fault.steps.append(name)
            raise
    return result


def _array(items: Iterable[object], depth: int) -> list[Any]:
    _check_depth(depth)
    result: list[Any] = []
    for place, item in enumerate(items):
        try:
            result.append(_normalised(item, depth))
        except _Fault as fault:
            fault.steps.append(place)
            raise
    return result


def _check_depth(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _Fault(f"is nested deeper than {DEPTH_MAX}", _DEPTH_RULE)


def _checked_key(key: object, known: Mapping[str, object]) -> str:
    if not isinstance(key, str):
        raise _Fault(f"has a key of type {type_name(key)}", _KEY_RULE)
    name = str.__str__(key)
    if (problem := text_problem(name)) is not None:
        raise _Fault(f"is a key that {problem}", _TEXT_RULE, name)
    if name in known:
        raise _Fault("is a key that appears twice", _KEY_RULE, name)
    return name


def _checked_string(value: str) -> str:
    text = str.__str__(value)  # not str(value): subclasses may say something else there
    if (problem := text_problem(text)) is not None:
        raise _Fault(problem, _TEXT_RULE)
    return text


def _checked_int(value: int) -> int:
    if not _INT_MIN <= value <= _INT_MAX:
        raise _Fault("is an integer beyond 64 bits (signed)", _INT_RULE)
    return value


def _checked_float(value: float) -> float:
    if not isfinite(value):
        raise _Fault("is NaN or infinite", _FINITE_RULE)
    return value


def _string_of(value: object) -> str:
    match value:
        case datetime():
            if value.utcoffset() is None:
                raise _Fault("is a naive datetime", _TIME_RULE)
            return value.isoformat()
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case Decimal():
            if not value.is_finite():
                raise _Fault("is NaN or infinite", _FINITE_RULE)
            return str(value)
        case _:
            raise _Fault(f"is of type {type_name(value)}", _hint(value))


def _hint(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "encode it first, such as base64.b64encode(value).decode()"
    if isinstance(value, set | frozenset):
        return "use a list: sorted(value)"
    if dataclasses.is_dataclass(value):
        return "convert it first: dataclasses.asdict(value)"
    if isinstance(value, msgspec.Struct):
        return "convert it first: msgspec.to_builtins(value)"
    if callable(getattr(type(value), "model_dump", None)):
        return "convert it first: value.model_dump(mode='json')"
    return _TYPES_RULE


def _checked_text(raw: bytes, limit: int, index: int | None) -> bytes:
    """JSON text given by the caller: checked like any payload, and returned as it was written."""
    if len(raw) > limit:  # before parsing, which costs far more memory than the text
        raise PayloadTooLarge(len(raw), limit, index)
    _normalised(_parsed(raw), 0)
    return raw


def _parsed(raw: bytes) -> object:
    try:
        return _DECODER.decode(raw.decode())
    except UnicodeDecodeError as refused:
        raise _Fault(f"is not UTF-8 at byte {refused.start}", _BYTES_RULE) from None
    except json.JSONDecodeError as refused:
        raise _Fault(f"is not JSON at character {refused.pos} ({refused.msg.strip(': ')})", _BYTES_RULE) from None
    except RecursionError:
        raise _Fault(f"is nested deeper than {DEPTH_MAX}", _DEPTH_RULE) from None


def _parsed_int(digits: str) -> int:
    # Python refuses to read thousands of digits; 20 characters hold every integer of 64 bits.
    return int(digits) if len(digits) <= 20 else _INT_MAX + 1


# NaN, Infinity and numbers too large for a float are parsed, so that the pass over all values refuses them by path.
_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=_parsed_int, parse_constant=float)


def _checked_headers(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise _Fault(f"is of type {type_name(headers)}", _HEADERS_RULE)
    if len(headers) > HEADERS_MAX:
        raise _Fault(f"has {len(headers)} entries", _HEADERS_RULE)
    result: dict[str, str] = {}
    for key, value in headers.items():
        name = _checked_key(key, result)
        if not 0 < len(name) <= HEADER_NAME_MAX:
            raise _Fault(f"is a name of {len(name)} characters", _HEADERS_RULE, name)
        try:
            result[name] = _checked_header(value)
        except _Fault as fault:
            fault.steps.append(name)
            raise
    return result


def _checked_header(value: object) -> str:
    if not isinstance(value, str):
        raise _Fault(f"is of type {type_name(value)}", _HEADERS_RULE)
    if len(value) > HEADER_VALUE_MAX:
        raise _Fault(f"has {len(value)} characters", _HEADERS_RULE)
    return _checked_string(value)


def _step_text(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if len(step) > _STEP_MAX:
        step = f"{step[:_STEP_MAX]}..."
    return f".{step}" if step.isidentifier() and step.isascii() else f"[{json.dumps(step)}]"
