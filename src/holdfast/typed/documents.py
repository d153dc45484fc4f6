"""What a person is told of a declared event: in words, field by field. Pure."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.typed.registry import upcasters_of
from holdfast.typed.schemas import schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.typed.declared import Declared
    from holdfast.typed.kinds import Schema

_DEPTH_MAX = 4
"""Types within types that are named in the words for one."""

_BOUNDS = {
    "minimum": "at least {}", "exclusiveMinimum": "more than {}", "maximum": "at most {}", "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters", "maxLength": "at most {} characters", "minItems": "at least {} items",
    "maxItems": "at most {} items", "pattern": "pattern {}", "multipleOf": "a multiple of {}",
}  # fmt: skip


class Field(NamedTuple):
    """A field of a payload.

    Attributes:
        path: Names joined by dots, ``[]`` for the items of a list.
        type: In words.
        rules: What its values keep to, in words.
        required: Whether it is always there.
        default: As JSON, where it has one.
    """

    path: str
    type: str
    rules: str
    required: bool
    default: str | None
    description: str


def description_of(event: Declared) -> str:
    """The docstring of its class; empty where there is none, or only the one that dataclasses get by themselves."""
    said = vars(event.cls).get("__doc__") or ""
    return "" if said.startswith(f"{event.cls.__name__}(") else inspect.cleandoc(said)


def steps_of(event: Declared) -> list[tuple[int, str]]:
    """Versions that upcasters lead from, each with what its docstring begins with."""
    steps = sorted(upcasters_of(event.name).items())
    return [(version, (inspect.getdoc(upcaster) or "").partition("\n")[0]) for version, upcaster in steps]


def fields_of(event: Declared) -> list[Field]:
    """Its fields, those of objects within it below them; of a type within itself once."""
    schema = schema_of(event)
    return list(_fields(schema, schema.get("$defs", {}), "", frozenset()))


def _fields(schema: Any, definitions: dict[str, Schema], above: str, seen: frozenset[str]) -> Iterator[Field]:
    for owner, below, known in _objects(schema, definitions, seen):
        for name, field in owner["properties"].items():
            path = f"{above}{below}.{name}".removeprefix(".")
            yield _field(path, field, definitions, is_required=name in owner.get("required", ()))
            yield from _fields(field, definitions, path, known)


def _field(path: str, schema: Any, definitions: dict[str, Schema], *, is_required: bool) -> Field:
    found = _resolved(schema, definitions)
    default = json.dumps(found["default"], ensure_ascii=False) if "default" in found else None
    said = "" if "properties" in found else str(found.get("description", ""))
    return Field(path, _type(schema, definitions, 0), _rules(found), is_required, default, said)


def _objects(
    schema: Any, definitions: dict[str, Schema], seen: frozenset[str]
) -> Iterator[tuple[Schema, str, frozenset[str]]]:  # fmt: skip
    """The objects with named fields that a schema consists of, each with what leads to it, and which types are above."""
    if isinstance(schema, dict) and "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in seen:
            return
        seen |= {name}
    found = _resolved(schema, definitions)
    if found.get("properties"):
        yield found, "", seen
    for option in _options(found):
        yield from _objects(option, definitions, seen)
    for word, below in (("items", "[]"), ("additionalProperties", ".*")):
        if word in found:
            for inner, further, known in _objects(found[word], definitions, seen):
                yield inner, below + further, known


def _resolved(schema: Any, definitions: dict[str, Schema]) -> Schema:
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {**_resolved(definitions[name], definitions), "title": name, **schema}
    return schema


def _options(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return found


def _type(schema: Any, definitions: dict[str, Schema], depth: int) -> str:
    found, deeper = _resolved(schema, definitions), depth + 1
    if deeper > _DEPTH_MAX:
        return str(found.get("title", "..."))
    if options := _options(found):
        return " or ".join(_type(option, definitions, deeper) for option in options)
    if values := found.get("enum", [found["const"]] if "const" in found else None):
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in values)
    match found.get("type"):
        case "array" if parts := found.get("prefixItems"):
            return f"[{', '.join(_type(part, definitions, deeper) for part in parts)}]"
        case "array":
            return f"list of {_type(found.get('items'), definitions, deeper)}"
        case "object" if "properties" in found:
            return str(found.get("title", "object"))
        case "object":
            return f"object of {_type(found.get('additionalProperties'), definitions, deeper)}"
        case str(name):
            return str(found.get("format", name))
        case _:
            return "anything"


def _rules(schema: Schema) -> str:
    return ", ".join(words.format(schema[word]) for word, words in _BOUNDS.items() if word in schema)
