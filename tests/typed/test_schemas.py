"""The kept schemas: what stands in them, that they stay the same, and what has changed since."""

from __future__ import annotations

import json
from dataclasses import make_dataclass
from datetime import datetime, time  # noqa: TC003 - msgspec reads the annotations
from typing import Any, TypedDict
from uuid import UUID  # noqa: TC003 - the same

import msgspec
import pytest

from holdfast.errors import ConfigurationError
from holdfast.event_types import event_type_of
from holdfast.typed import event, upcast
from holdfast.typed.registry import declared_events
from holdfast.typed.schemas import Change, as_text, changes_since, kept_in, kept_text, schema_of

from .shop import OrderPaid, OrderPlaced, OrderSeen, OrderSent

GAP = (
    "no upcaster leads from version 2 to 3; write @upcast('kept', from_version=2), or say by oldest= that events so old do "
    "not come any more"
)


def declared(*fields: Any, name: str = "kept", version: int = 1, oldest: int = 1) -> Any:
    cls = make_dataclass("Kept", fields)
    cls.__module__, cls.__qualname__ = __name__, "Kept"
    return event_type_of(event(name, version=version, oldest=oldest)(cls))


def test_every_kind_of_type_has_a_schema() -> None:
    placed, paid, sent, seen = (
        schema_of(event_type_of(one)) for one in (OrderPlaced, OrderPaid, OrderSent, OrderSeen)
    )  # fmt: skip
    assert placed["$defs"]["OrderPlaced"]["properties"]["placed_at"] == {"type": "string", "format": "date-time"}
    assert placed["$defs"]["OrderPlaced"]["required"] == ["items", "order_id", "placed_at", "shop"]
    assert placed["$defs"]["OrderPlaced"]["properties"]["notes"]["propertyNames"] == {"format": "int"}
    assert placed["$defs"]["OrderPlaced"]["description"] == "Somebody has ordered something."
    assert paid["$defs"]["OrderPaid"]["properties"]["amount"] == {
        "type": "integer", "exclusiveMinimum": 0, "description": "in cents",
    }  # fmt: skip
    assert sent["required"] == ["orderId", "sent_at", "to"]
    assert seen["$defs"]["OrderSeen"]["required"] == ["at", "order_id"]


def test_the_text_is_sorted_and_is_read_back() -> None:
    events = [one for one in declared_events() if one.name.startswith("typed.")]
    text = kept_text(events)
    assert text == kept_text(list(reversed(events)))
    assert text == as_text(json.loads(text))
    kept = kept_in(text)
    assert list(kept) == sorted(one.name for one in events)
    assert kept["typed.order.placed"].version == 2
    assert changes_since(kept, events) == []


class Text(msgspec.Struct):
    a: str | None
    b: list[str]
    c: dict[str, str]
    d: tuple[str, int]
    e: tuple[str, ...]
    f: set[str]
    g: str


class Time(msgspec.Struct):
    a: datetime | None
    b: list[datetime]
    c: dict[UUID, datetime]
    d: tuple[datetime, int]
    e: tuple[datetime, ...]
    f: set[datetime]
    g: time


def test_a_text_that_becomes_a_time_is_seen_wherever_it_stands() -> None:
    before = event_type_of(event("kept", version=1)(Text))
    kept = kept_in(kept_text([before]))
    Time.__qualname__, Time.__module__ = Text.__qualname__, Text.__module__
    after = event_type_of(event("kept", version=1)(Time))
    found = {str(one).split()[1] for one in changes_since(kept, [after])}
    paths = ("a", "b[]", "c", "c.*", "d[0]", "e[]", "f[]", "g")
    assert found == {f"payload.{path}" for path in paths}


@pytest.mark.parametrize(
    ("fields", "version", "steps", "found"),
    [
        ([("a", int)], 1, (), []),
        ([("a", float)], 1, (), [("is another, to which all old payloads fit", False)]),
        ([("a", str)], 1, (), [("payload.a is string, and was integer", True)]),
        ([("b", int)], 1, (), [("payload.a is gone", True), ("payload.b is required, and was not", True)]),
        ([("b", int)], 2, (1,), [("has version 2, and had 1", False)]),
        ([("b", int)], 3, (1,), [("has version 3, and had 1", False), (GAP, True)]),
    ],
)
def test_what_has_changed(fields: Any, version: int, steps: tuple[int, ...], found: Any) -> None:
    kept = kept_in(kept_text([declared(("a", int))]))
    for step in steps:
        upcast("kept", from_version=step)(dict)
    changes = changes_since(kept, [declared(*fields, version=version)])
    assert changes == [Change("kept", what, breaking) for what, breaking in found]


def test_events_come_and_go_and_versions_do_not_go_back() -> None:
    kept = kept_in(kept_text([declared(name="a.gone"), declared(name="b.back", version=3)]))
    now = [declared(name="b.back", version=2, oldest=2), declared(name="c.new")]
    assert list(map(str, changes_since(kept, now))) == [
        "a.gone: is declared no more",
        "b.back: has version 2, and had 3: a version never goes back",
        "c.new: is new",
    ]


def test_steps_before_the_oldest_version_are_not_missed() -> None:
    kept = kept_in(kept_text([declared(name="kept", version=1)]))
    (change,) = changes_since(kept, [declared(name="kept", version=3, oldest=3)])
    assert not change.breaking


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"format": 1}',
        '{"format": 1, "events": {"a": {}}}',
        '{"format": 1, "events": [1]}',
    ],
)
def test_other_texts_are_no_schemas(text: str) -> None:
    with pytest.raises(ConfigurationError, match="these are no schemas of events"):
        kept_in(text)


def test_schemas_of_a_later_release_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="have format 2, and this release reads 1"):
        kept_in('{"format": 2, "events": {}}')


def test_a_field_may_have_any_name() -> None:
    class Words(TypedDict):
        required: int
        discriminator: str
        properties: float

    found = schema_of(event_type_of(event("kept")(Words)))
    assert set(found["$defs"]["Words"]["properties"]) == {"required", "discriminator", "properties"}


def test_a_type_without_a_schema_is_named() -> None:
    one = declared(("a", object))
    with pytest.raises(ConfigurationError, match=r"Kept cannot be an event: "):
        schema_of(one)
