"""JSON Schemas of declared events, as one text that is kept with the program, and what has changed since. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.errors import ConfigurationError
from holdfast.typed.compatibility import breaks_between

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.typed.declared import Declared
    from holdfast.typed.kinds import Schema

FORMAT = 1
"""Of the text."""

# Which words of a schema hold schemas: by a name, in a list, or one.
_BY_NAME, _LISTED = {"properties", "$defs", "patternProperties"}, {"anyOf", "oneOf", "allOf", "prefixItems"}
_SINGLE = {"items", "additionalProperties", "propertyNames", "not", "contains", "if", "then", "else"}


class Kept(NamedTuple):
    """An event as the kept text has it."""

    version: int
    schema: Schema


class Change(NamedTuple):
    """Something is different from the kept text. `breaking`: stored events may not be read any more."""

    name: str
    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


def schema_of(declared: Declared) -> Schema:
    """
    The JSON Schema (draft 2020-12) of an event's payload, the same text for the same type.

    Raises:
        ConfigurationError: The type has none.
    """
    schema: Schema = mapped(declared.kind.schema(), _settled)
    return schema


def _settled(schema: Schema) -> Schema:
    """Without the order in which fields are written down; which of several a tag means is in their own schemas."""
    kept = {word: value for word, value in schema.items() if word != "discriminator"}
    return kept | {"required": sorted(kept["required"])} if "required" in kept else kept


def mapped(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """*schema* with *change* applied to it and to every schema in it, the inner ones first."""
    if not isinstance(schema, dict):
        return schema  # True and False are schemas, too

    def inner(word: str, value: Any) -> Any:
        if word in _BY_NAME:
            return {name: mapped(one, change) for name, one in value.items()}
        if word in _LISTED:
            return [mapped(one, change) for one in value]
        return mapped(value, change) if word in _SINGLE else value

    return change({word: inner(word, value) for word, value in schema.items()})


def as_text(value: Any) -> str:
    """JSON for people and for version control: sorted and indented."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def kept_text(events: Sequence[Declared]) -> str:
    """The text that `kept_in` reads."""
    entries = {one.name: {"version": one.version, "schema": schema_of(one)} for one in events}
    return as_text({"format": FORMAT, "events": entries})


def kept_in(text: str) -> dict[str, Kept]:
    """
    The events of a kept text.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise ConfigurationError(f"the schemas have format {found['format']!r}, and this release reads {FORMAT}")
        return {name: Kept(int(one["version"]), dict(one["schema"])) for name, one in found["events"].items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"these are no schemas of events ({type(error).__name__}): export them anew"
        ) from error


def changes_since(kept: Mapping[str, Kept], events: Sequence[Declared]) -> list[Change]:
    """What is different now, and which upcasters are missing."""
    now = {one.name: one for one in events}
    gone = [Change(name, "is declared no more", breaking=True) for name in kept if name not in now]
    new = [Change(name, "is new", breaking=False) for name in now if name not in kept]
    both = [change for name, before in kept.items() if name in now for change in _changes(before, now[name])]
    gaps = [gap for one in events for gap in _gaps(one)]
    return sorted([*gone, *new, *both, *gaps], key=lambda change: change.name)


def _gaps(event: Declared) -> list[Change]:
    try:
        event.require_chain()
    except ConfigurationError as error:
        return [Change(event.name, str(error).removeprefix(f"{event}: "), breaking=True)]
    return []


def _changes(before: Kept, now: Declared) -> list[Change]:
    if now.version < before.version:
        went_back = f"has version {now.version}, and had {before.version}: a version never goes back"
        return [Change(now.name, went_back, breaking=True)]
    if now.version > before.version:
        return [Change(now.name, f"has version {now.version}, and had {before.version}", breaking=False)]
    schema = schema_of(now)
    if breaks := breaks_between(before.schema, schema):
        return [Change(now.name, str(one), breaking=True) for one in breaks]
    differs = schema != before.schema
    return [Change(now.name, "is another, to which all old payloads fit", breaking=False)] if differs else []
