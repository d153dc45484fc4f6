"""The kinds of types that events may have: how a value is written, read, and described."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

import msgspec

from holdfast.errors import ConfigurationError
from holdfast.names import type_name
from holdfast.typed.problems import Misfit

Schema = dict[str, Any]
"""A JSON Schema, draft 2020-12."""

_OWN_CHECK = "does not pass a check of the type's own"


class Kind(Protocol):
    """
    One type, as events need it.

    Building what reads and writes it waits for the first use: only then must all names in its annotations be there.
    Each of these but `fields` raises ConfigurationError where the type is one that cannot be built.
    """

    @property
    def fields(self) -> frozenset[str]:
        """Names of its fields, as attributes or keys of a value."""
        ...

    def holds(self, value: Any) -> bool:
        """Whether *value* may be one of this type. Not of a subclass: fields of that would be lost."""
        ...

    def get(self, value: Any, field: str) -> Any:
        """A field of a value; None where it has none."""
        ...

    def dump(self, value: Any) -> Any:
        """What `encode_payload` takes. Nothing is checked. Raises Misfit where something has no JSON form."""
        ...

    def decode(self, raw: bytes) -> Any:
        """The value of a JSON text, checked. Raises Misfit."""
        ...

    def schema(self) -> Schema:
        """Its JSON Schema, as it decodes."""
        ...


def kind_of(cls: type) -> Kind:
    """
    How values of a class are written and read.

    Raises:
        ConfigurationError: It is none that events may have.
    """
    if hasattr(cls, "__pydantic_core_schema__"):
        from holdfast.typed.pydantic import PydanticKind

        return PydanticKind(cls)
    if issubclass(cls, dict) and hasattr(cls, "__total__"):  # that of typing_extensions, too
        return TypedDictKind(cls)
    if dataclasses.is_dataclass(cls):
        return MsgspecKind(cls, frozenset(one.name for one in dataclasses.fields(cls)))
    if issubclass(cls, msgspec.Struct):
        if cls.__struct_config__.array_like:
            raise ConfigurationError(f"{cls.__qualname__} is array_like: the payload of an event is an object")
        return MsgspecKind(cls, frozenset(cls.__struct_fields__))
    raise ConfigurationError(
        f"{cls.__qualname__} is no dataclass, msgspec Struct, pydantic model or TypedDict: @event goes above one"
    )


class MsgspecKind:
    """A dataclass or a Struct."""

    def __init__(self, cls: type, fields: frozenset[str]) -> None:
        self._cls, self.fields = cls, fields

    def holds(self, value: Any) -> bool:
        return type(value) is self._cls

    def get(self, value: Any, field: str) -> Any:
        return getattr(value, field)

    def dump(self, value: Any) -> Any:
        try:
            # Times, ids and decimals go on as they are: payloads have one form of them, whoever publishes.
            return msgspec.to_builtins(value, builtin_types=(datetime, date, UUID, Decimal), str_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise Misfit(
                "payload", f"cannot be written as JSON ({_without_values(str(error), type_name(error))})"
            ) from None

    def decode(self, raw: bytes) -> Any:
        try:
            return self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _misfit(error) from None

    def schema(self) -> Schema:
        from holdfast.typed.describing import schema_by_msgspec

        schema: Schema = _built(self._cls, lambda: schema_by_msgspec(self._cls))
        return schema

    @cached_property
    def _decode(self) -> Callable[[bytes], Any]:
        decoder: msgspec.json.Decoder[Any] = _built(self._cls, lambda: msgspec.json.Decoder(self._cls))
        return decoder.decode


class TypedDictKind(MsgspecKind):
    """A TypedDict, whose values are dicts like any other."""

    def __init__(self, cls: type) -> None:
        keys: Any = cls
        super().__init__(cls, keys.__required_keys__ | keys.__optional_keys__)

    def holds(self, value: Any) -> bool:
        return isinstance(value, Mapping)

    def get(self, value: Any, field: str) -> Any:
        return value.get(field)


def _built(cls: type, build: Callable[[], Any]) -> Any:
    try:
        return build()
    except (NameError, TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{cls.__module__}.{cls.__qualname__} cannot be an event: {error}") from error


# What msgspec says by itself, as far as there is no value in it. All else may be the text of a type's own check.
_SAID = re.compile(
    r"Expected .*|Object (?:missing|contains) .*|Input data was truncated|JSON is malformed.*|Encoding objects of type .*"
    r"|Invalid (?:RFC3339 encoded \w+|ISO8601 duration|UUID|base64 encoded string|decimal string|enum value|value)"
)


def _misfit(error: Exception) -> Misfit:
    said, _, place = str(error).partition(" - at `")
    path = place.rstrip("`").rpartition("`")[2].removeprefix("$")
    return Misfit(f"payload{path}", f"is not as its type says: {_without_values(said, _OWN_CHECK)}")


def _without_values(said: str, otherwise: str) -> str:
    known = _SAID.match(said)
    return otherwise if known is None else known[0][0].lower() + known[0][1:]
