"""Whether payloads of a schema still fit another one. Pure.

Judged is what was written under the old schema, every payload that it allows: each must be accepted under the new one,
and every field of it kept. That new ones may say more is no harm.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.typed.kinds import Schema

_WORDS_WITHOUT_EFFECT = {
    "$comment", "$defs", "default", "deprecated", "description", "discriminator", "examples", "readOnly", "title", "writeOnly",
}  # fmt: skip
_LOW = {"minLength", "minItems", "minProperties"}
_HIGH = {"maxLength", "maxItems", "maxProperties"}
_LENGTHS = {
    "date": {"minLength": 10, "maxLength": 10}, "date-time": {"minLength": 20}, "uuid": {"minLength": 32, "maxLength": 36},
}  # fmt: skip
_BOUNDS = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}
_FROM = "the definition it comes from"
_COMPARED = {
    _FROM,
    "type",
    "enum",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    *_LOW,
    *_HIGH,
    *_BOUNDS,
}
_JSON_TYPES = {
    bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array", dict: "object",
}  # fmt: skip


class Break(NamedTuple):
    """A payload of the old schema may not fit the new one. `path`: where, such as ``payload.items[].price``."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"


def breaks_between(old: Schema, new: Schema) -> list[Break]:
    """All that breaks when the schema *old* becomes *new*; where neither is understood, a change counts as one."""
    return _Comparison(old, new).compare(old, new, "payload")


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old.get("$defs", {}), new.get("$defs", {})
        self._under_way: set[tuple[Any, Any]] = set()

    def compare(self, old: Any, new: Any, path: str) -> list[Break]:
        befores, afters = _alternatives(old, self._old), _alternatives(new, self._new)
        return [found for before in _split(befores) for found in self._into_any(before, afters, path)]

    def _into_any(self, before: Schema, afters: list[Schema], path: str) -> list[Break]:
        """What keeps payloads of *before* out of each of *afters*: told of the one that is most like it."""
        tries = [self._into(before, after, path) for after in afters]
        if not all(tries):
            return []
        alike = [found for after, found in zip(afters, tries, strict=True) if after.get("type") == before.get("type")]
        if len(tries) == 1 or len(alike) == 1:
            return (alike or tries)[0]
        return [Break(path, f"takes {_words(before)} no more")]

    def _into(self, before: Schema, after: Schema, path: str) -> list[Break]:
        if not after:
            return []
        if "enum" in after:
            return self._into_values(before, after, path)
        if "enum" in before:
            before = _of_value(*before["enum"]) | {word: x for word, x in before.items() if word != "enum"}
        was, now = before.get("type"), after.get("type")
        if now is not None and was != now and (was, now) != ("integer", "number"):
            return [Break(path, f"is {now}, and was {was or 'anything'}")]
        pair = (before.get(_FROM), after.get(_FROM))
        if pair in self._under_way:  # a type within itself: what is to be said of it is said above
            return []
        self._under_way |= {pair} - {(None, None)}
        inner = {"object": self._objects, "array": self._arrays}.get(now or "")
        breaks = [*_narrowed(before, after, path), *(inner(before, after, path) if inner else ())]
        self._under_way.discard(pair)
        return breaks

    def _into_values(self, before: Schema, after: Schema, path: str) -> list[Break]:
        if "enum" not in before:
            return [Break(path, f"takes {_words(after)} only, and took {_words(before)}")]
        (value,) = before["enum"]
        if any(type(value) is type(one) and value == one for one in after["enum"]):
            return []
        return [Break(path, f"takes {_words(before)} no more")]

    def _objects(self, before: Schema, after: Schema, path: str) -> list[Break]:
        had, has = before.get("properties", {}), after.get("properties", {})
        others_before, others = _others(before), _others(after)
        breaks = []
        for name, schema in had.items():
            if name in has:
                breaks += self.compare(schema, has[name], f"{path}.{name}")
            elif others is None:
                breaks.append(Break(f"{path}.{name}", "is gone"))
            else:
                breaks += self.compare(schema, others, f"{path}.{name}")
        for name in after.get("required", ()):
            if name not in before.get("required", ()):
                was = "need not be there" if name in had else "was not"
                breaks.append(Break(f"{path}.{name}", f"is required, and {was}"))
        if others_before is None:
            return breaks
        for name in has.keys() - had.keys():
            breaks += self.compare(others_before, has[name], f"{path}.{name}")
        if others is None:
            return [*breaks, Break(path, "takes no other fields any more")]
        return breaks + self.compare(others_before, others, f"{path}.*")

    def _arrays(self, before: Schema, after: Schema, path: str) -> list[Break]:
        had, has = before.get("prefixItems", []), after.get("prefixItems", [])
        rest_before, rest = before.get("items", True), after.get("items", True)
        most, named = before.get("maxItems", math.inf), max(len(had), len(has))
        breaks = []
        for place in range(min(named, before.get("maxItems", named))):
            one = had[place] if place < len(had) else rest_before
            other = has[place] if place < len(has) else rest
            breaks += self.compare(one, other, f"{path}[{place}]")
        if most > len(had) and rest_before is not False:
            breaks += self.compare(rest_before, rest, f"{path}[]")
        return breaks


def _alternatives(schema: Any, definitions: dict[str, Schema]) -> list[Schema]:
    """The schemas of which one is enough, without references and words that have no effect; none: nothing fits."""
    if isinstance(schema, bool):
        return [{}] if schema else []
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        rest = {word: value for word, value in schema.items() if word != "$ref"}
        return _alternatives({**definitions[name], **rest, _FROM: name}, definitions)
    plain = {word: value for word, value in schema.items() if word not in _WORDS_WITHOUT_EFFECT}
    for word in ("anyOf", "oneOf"):
        if options := plain.pop(word, None):
            whole = [{**plain, **option} if isinstance(option, dict) else option for option in options]
            return [one for option in whole for one in _alternatives(option, definitions)]
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if plain.get("type") == "null":
        plain = {"enum": [None]}
    if isinstance(plain.get("type"), list):
        return [{**plain, "type": one} for one in plain["type"]]
    return [plain]


def _split(schemas: list[Schema]) -> list[Schema]:
    """The same, each value of an enum by itself."""
    return [
        one
        for schema in schemas
        for one in ([{**schema, "enum": [value]} for value in schema["enum"]] if "enum" in schema else [schema])
    ]


def _of_value(value: Any) -> Schema:
    """The schema that lets in one value, and others that nothing here could tell from it."""
    schema: Schema = {"type": _JSON_TYPES[type(value)]}
    if isinstance(value, str):
        return schema | {"minLength": len(value), "maxLength": len(value)}
    return schema | ({"minimum": value, "maximum": value} if schema["type"] in ("integer", "number") else {})


def _others(schema: Schema) -> Any:
    """What fields without a name of their own may be; None: there are none, or they are not kept."""
    found = schema.get("additionalProperties", None if "properties" in schema else True)
    return None if found is False else found


def _narrowed(before: Schema, after: Schema, path: str) -> Iterator[Break]:
    """What the words of *after* keep out, apart from types, values, fields and items."""
    before = _LENGTHS.get(before.get("format", ""), {}) | before
    if _lowest(after) > _lowest(before):
        yield Break(path, f"has {_bound(after, 'inimum')}, and had {_bound(before, 'inimum')}")
    if _highest(after) < _highest(before):
        yield Break(path, f"has {_bound(after, 'aximum')}, and had {_bound(before, 'aximum')}")
    for word in sorted(after.keys() - _COMPARED | after.keys() & {*_LOW, *_HIGH}):
        if _is_narrower(word, before.get(word), after[word]):
            yield Break(path, f"has {word} {after[word]}, and had {before.get(word, 'none')}")


def _is_narrower(word: str, before: Any, after: Any) -> bool:
    if word in _LOW:
        return bool(after > (before or 0))
    if word in _HIGH:
        return bool(after < (math.inf if before is None else before))
    return after is not False and after != before  # nobody here knows what the word does


def _lowest(schema: Schema) -> tuple[float, bool]:
    """The lower bound, and whether it is excluded: the greater of them lets less in."""
    return max((schema.get("minimum", -math.inf), False), (schema.get("exclusiveMinimum", -math.inf), True))


def _highest(schema: Schema) -> tuple[float, bool]:
    """The upper bound, and whether it is included: the smaller of them lets less in."""
    return min((schema.get("maximum", math.inf), True), (schema.get("exclusiveMaximum", math.inf), False))


def _bound(schema: Schema, word: str) -> str:
    found = [f"{name} {schema[name]}" for name in (f"m{word}", f"exclusiveM{word}") if name in schema]
    return " and ".join(found) or "none"


def _words(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(map(json.dumps, schema["enum"]))
    return str(schema.get("type", "anything"))
