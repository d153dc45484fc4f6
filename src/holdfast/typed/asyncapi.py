"""Declared events as an AsyncAPI document, version 3.0: what a program publishes and what its subscriptions receive. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from holdfast.event_types import VERSION_HEADER
from holdfast.patterns import matches
from holdfast.typed.documents import description_of
from holdfast.typed.schemas import mapped, schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.subscription import Consumer
    from holdfast.typed.declared import Declared
    from holdfast.typed.kinds import Schema

_NO_KEY = re.compile(r"[^A-Za-z0-9._-]")


def asyncapi(events: Sequence[Declared], consumers: Sequence[Consumer], *, title: str, version: str) -> dict[str, Any]:
    """
    The document: a channel for each event, an operation that sends it, and one for each subscription that receives it.

    Args:
        title: Of the program.
        version: Of the program.

    Raises:
        ConfigurationError: A type has no schema.
    """
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": {_key(one.name): _channel(one) for one in events},
        "operations": _sending(events) | _receiving(events, consumers),
        "components": {
            "messages": {_key(one.name): _message(one) for one in events},
            "schemas": {name: schema for one in events for name, schema in _schemas(one).items()},
        },
    }


def _key(name: str) -> str:
    """*name* as a key of the document; of other characters their number, so that no two names become one."""
    return _NO_KEY.sub(lambda found: f"_{ord(found[0]):02x}_", name)


def _channel(event: Declared) -> dict[str, Any]:
    key = _key(event.name)
    return {"address": event.name, "messages": {key: {"$ref": f"#/components/messages/{key}"}}}


def _message(event: Declared) -> dict[str, Any]:
    headers = {VERSION_HEADER: {"type": "string", "const": str(event.version)}}
    message = {
        "name": event.name,
        "title": event.cls.__name__,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": headers},
        "payload": {"$ref": f"#/components/schemas/{_key(event.name)}"},
    }
    said = description_of(event)
    return message | {"description": said} if said else message


def _sending(events: Sequence[Declared]) -> dict[str, Any]:
    return {f"send.{_key(one.name)}": _operation("send", one, f"Publish {one.name}") for one in events}


def _receiving(events: Sequence[Declared], consumers: Sequence[Consumer]) -> dict[str, Any]:
    return {
        f"receive.{_key(one.name)}.{_key(consumer.name.replace('.', '-'))}": _operation("receive", one, consumer.name)
        for one in events
        for consumer in consumers
        if any(matches(pattern, one.name) for pattern in consumer.patterns)
    }


def _operation(action: str, event: Declared, title: str) -> dict[str, Any]:
    channel = f"#/channels/{_key(event.name)}"
    return {
        "action": action,
        "title": title,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{_key(event.name)}"}],
    }


def _schemas(event: Declared) -> dict[str, Schema]:
    """
    The event's schema, and those that it refers to, each under a name of its own: references lead into the whole
    document, and two events may have different types of one name.
    """
    key = _key(event.name)

    def placed(schema: Schema) -> Schema:
        found = dict(schema)
        if "$ref" in found:
            found["$ref"] = f"#/components/schemas/{key}.{_key(found['$ref'].rpartition('/')[2])}"
        if "prefixItems" in found:  # draft 7, which AsyncAPI goes by, has another word
            found |= {"items": found.pop("prefixItems"), "additionalItems": found.get("items", True)}
        return found

    whole = mapped(schema_of(event), placed)
    parts = whole.pop("$defs", {})
    return {key: whole} | {f"{key}.{_key(name)}": part for name, part in parts.items()}
