"""JSON Schemas of what msgspec reads, with what it leaves out of them: that a text is a time, and what the keys are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.typed.kinds import Schema

_Object = inspect.StructType | inspect.DataclassType | inspect.TypedDictType
_Array = (
    inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType | inspect.CollectionType
)  # fmt: skip
_Time = inspect.DateTimeType | inspect.TimeType


def schema_by_msgspec(cls: type) -> Schema:
    """
    Without the difference between a text and a time, or between texts and numbers as keys, changing one into the other
    would not be seen.

    Raises:
        TypeError: There is something in it that has no schema.
    """
    objects: dict[type, _Object] = {}
    _gather(inspect.type_info(cls), objects)
    references, definitions = msgspec.json.schema_components([cls, *objects])
    for reference, kind in zip(references[1:], objects.values(), strict=True):
        # Structs that are arrays have none.
        properties = definitions[reference["$ref"].rpartition("/")[2]].get("properties", {})
        for field in kind.fields:
            _complete(field.type, properties.get(field.encode_name, {}))
    return {**references[0], "$defs": definitions}


def _gather(kind: inspect.Type, objects: dict[type, _Object]) -> None:
    """Every type of object within *kind*, by its class."""
    if not isinstance(kind, _Object):
        for inner in _inner(kind):
            _gather(inner, objects)
    elif kind.cls not in objects:
        objects[kind.cls] = kind
        for field in kind.fields:
            _gather(field.type, objects)


def _inner(kind: inspect.Type) -> Iterator[inspect.Type]:
    match kind:
        case inspect.Metadata(type=inner):
            yield inner
        case inspect.UnionType(types=members) | inspect.TupleType(item_types=members):
            yield from members
        case inspect.DictType(key_type=key, value_type=inner):
            yield from (key, inner)
        case _ if isinstance(kind, _Array):
            yield kind.item_type
        case inspect.NamedTupleType(fields=fields):
            yield from (field.type for field in fields)


def _complete(kind: inspect.Type, schema: Any) -> None:
    match kind:
        case inspect.Metadata(type=inner):
            _complete(inner, schema)
        case inspect.DateTimeType(tz=zone):
            schema.setdefault("format", "local-date-time" if zone is False else "date-time")
        case inspect.TimeType(tz=zone):
            schema.setdefault("format", "local-time" if zone is False else "time")
        case inspect.TupleType(item_types=members):
            for one, part in zip(members, schema["prefixItems"], strict=True):
                _complete(one, part)
        case inspect.DictType(key_type=key, value_type=inner):
            if not isinstance(key, inspect.StrType | inspect.AnyType):
                schema.setdefault("propertyNames", {"format": type(key).__name__.removesuffix("Type").lower()})
            _complete(inner, schema.get("additionalProperties", {}))
        case inspect.UnionType(types=members):
            for one in members:
                # Of each of these a union has one at most.
                for part in schema.get("anyOf", ()):
                    if part.get("type") == _json_type(one):
                        _complete(one, part)
        case _ if isinstance(kind, _Array):
            _complete(kind.item_type, schema.get("items", {}))


def _json_type(kind: inspect.Type) -> str:
    """That of what `_complete` works on; of others something that is none."""
    match kind:
        case inspect.Metadata(type=inner):
            return _json_type(inner)
        case inspect.DictType():
            return "object"
        case inspect.TupleType():
            return "array"
    return "string" if isinstance(kind, _Time) else "array" if isinstance(kind, _Array) else "something else"
