"""A change is found to break if and only if a payload of the old type may not decode as the new one, or lose a field."""

from __future__ import annotations

import itertools
from dataclasses import field, make_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from holdfast.typed.compatibility import breaks_between
from holdfast.typed.kinds import kind_of
from holdfast.typed.problems import Misfit


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Node(msgspec.Struct):
    value: int
    next: Node | None = None


class Inner(msgspec.Struct):
    x: int


class InnerToo(msgspec.Struct):
    x: int
    y: str = ""


class InnerText(msgspec.Struct):
    x: str


class Alternative(NamedTuple):
    """A type of a field, with payload values that tell it from all the others here."""

    type: Any
    values: tuple[Any, ...]


NOON = datetime(2030, 1, 1, 12, tzinfo=UTC).isoformat()
SOME_ID = "0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41"
TYPES = [
    Alternative(int, (0, 7, -(2**40))),
    Alternative(float, (0.5, 1.0)),
    Alternative(bool, (True, False)),
    Alternative(str, ("", "a", "z" * 30)),
    Alternative(datetime, (NOON,)),
    Alternative(date, ("2030-01-31",)),
    Alternative(UUID, (SOME_ID,)),
    Alternative(Colour, ("red", "blue")),
    Alternative(Literal["red"], ("red",)),
    Alternative(Literal["red", "blue", "green"], ("red", "blue", "green")),
    Alternative(int | None, (0, 7, -(2**40), None)),
    Alternative(str | None, ("", "a", "z" * 30, None)),
    Alternative(int | str, (0, 7, -(2**40), "", "a", "z" * 30)),
    Alternative(Annotated[int, msgspec.Meta(ge=0)], (0, 7)),
    Alternative(Annotated[int, msgspec.Meta(gt=0, lt=10)], (1, 9)),
    Alternative(Annotated[str, msgspec.Meta(min_length=1)], ("a", "z" * 30)),
    Alternative(Annotated[str, msgspec.Meta(max_length=10)], ("", "a", "z" * 10)),
    Alternative(list[int], ([], [1], list(range(5)))),
    Alternative(list[str], ([], ["a"], ["a"] * 5)),
    Alternative(list[int | None], ([], [1, None])),
    Alternative(tuple[int, int], ([1, 2],)),
    Alternative(Annotated[list[int], msgspec.Meta(min_length=1)], ([1], list(range(5)))),
    Alternative(dict[str, int], ({}, {"x": 1}, {"q": 2})),
    Alternative(dict[str, str], ({}, {"x": "a"}, {"q": "b"})),
    Alternative(Inner, ({"x": 1},)),
    Alternative(InnerToo, ({"x": 1}, {"x": 1, "y": "b"})),
    Alternative(InnerText, ({"x": "a"},)),
    Alternative(Inner | None, ({"x": 1}, None)),
    Alternative(list[Inner], ([], [{"x": 1}])),
    Alternative(list[InnerText], ([], [{"x": "a"}])),
    Alternative(Node, ({"value": 1}, {"value": 1, "next": {"value": 2, "next": None}})),
]
ABSENT: Any = object()


class Described(NamedTuple):
    """A field of a type that a test makes."""

    type: Alternative
    required: bool


FIELDS = st.dictionaries(
    st.sampled_from("abc"), st.builds(Described, st.sampled_from(TYPES), st.booleans()), min_size=1, max_size=3
)


def as_struct(fields: dict[str, Described]) -> type:
    ordered = sorted(fields.items(), key=lambda one: not one[1].required)
    return msgspec.defstruct(
        "Changed", [(name, one.type.type) if one.required else (name, one.type.type, None) for name, one in ordered]
    )


def as_dataclass(fields: dict[str, Described]) -> type:
    ordered = sorted(fields.items(), key=lambda one: not one[1].required)
    return make_dataclass(
        "Changed",
        [
            (name, one.type.type) if one.required else (name, one.type.type, field(default=None))
            for name, one in ordered
        ],
    )


def as_typed_dict(fields: dict[str, Described]) -> type:
    made: Any = TypedDict(
        "Changed", {name: one.type.type if one.required else NotRequired[one.type.type] for name, one in fields.items()}
    )
    found: type = made
    return found


def payloads_of(fields: dict[str, Described]) -> list[dict[str, Any]]:
    choices = [(*one.type.values, *(() if one.required else (ABSENT,))) for one in fields.values()]
    return [
        {name: value for name, value in zip(fields, values, strict=True) if value is not ABSENT}
        for values in itertools.product(*choices)
    ]


def fits(kind: Any, payload: dict[str, Any]) -> bool:
    """Whether it decodes, and every name in it is in what comes out."""
    try:
        value = kind.decode(msgspec.json.encode(payload))
    except Misfit:
        return False
    return keeps(msgspec.to_builtins(value, str_keys=True), payload)


def keeps(after: Any, before: Any) -> bool:
    if isinstance(before, dict):
        return isinstance(after, dict) and all(name in after and keeps(after[name], before[name]) for name in before)
    if isinstance(before, list):
        return len(after) == len(before) and all(map(keeps, after, before))
    return True


@pytest.mark.parametrize("as_type", [as_struct, as_dataclass, as_typed_dict])
@settings(max_examples=60)
@given(old=FIELDS, new=FIELDS)
@example(old={"a": Described(TYPES[0], True)}, new={"a": Described(TYPES[0], False)})
@example(old={"a": Described(TYPES[0], False)}, new={"a": Described(TYPES[0], True)})
def test_a_generated_change_breaks_if_and_only_if_an_old_payload_does_not_fit(
    as_type: Any, old: dict[str, Described], new: dict[str, Described]
) -> None:
    before, after = kind_of(as_type(old)), kind_of(as_type(new))
    misfits = [payload for payload in payloads_of(old) if not fits(after, payload)]
    found = breaks_between(before.schema(), after.schema())
    assert bool(found) == bool(misfits), (found, misfits[:3])


@pytest.mark.parametrize("old", TYPES, ids=lambda one: str(one.type))
def test_every_type_of_a_field_against_every_other(old: Alternative) -> None:
    """The generated changes, one field at a time, and all of them."""
    before = kind_of(as_struct({"a": Described(old, True)}))
    for new in TYPES:
        after = kind_of(as_struct({"a": Described(new, True)}))
        misfits = [value for value in old.values if not fits(after, {"a": value})]
        found = breaks_between(before.schema(), after.schema())
        assert bool(found) == bool(misfits), (str(new.type), found, misfits)


class Before(BaseModel):
    number: int = Field(alias="no", ge=1)
    words: list[Literal["a", "b"]] = []
    extra: dict[str, int] | None = None


class Wider(BaseModel):
    number: float = Field(alias="no")
    words: list[Literal["a", "b", "c"]] = []
    extra: dict[str, int | str] | None = None
    new: str = ""


class Narrower(BaseModel):
    number: int = Field(alias="number", ge=2)
    words: list[Literal["a"]] = Field(max_length=3)
    extra: dict[str, int]


def test_models_are_judged_by_the_same_rules() -> None:
    before, wider, narrower = (kind_of(one).schema() for one in (Before, Wider, Narrower))
    assert breaks_between(before, before) == []
    assert breaks_between(before, wider) == []
    assert sorted(map(str, breaks_between(before, narrower))) == [
        "payload.extra is object, and was null",
        "payload.extra is required, and need not be there",
        "payload.no is gone",
        "payload.number is required, and was not",
        "payload.words has maxItems 3, and had none",
        "payload.words is required, and need not be there",
        'payload.words[] takes "b" no more',
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {"type": "string"}, ["payload is string, and was anything"]),
        ({"type": "string"}, {}, []),
        ({"type": "string"}, False, ["payload takes string no more"]),
        ({"type": ["string", "null"]}, {"type": "string"}, ["payload is string, and was null"]),
        ({"const": 1}, {"enum": [True]}, ["payload takes 1 no more"]),
        (
            {"type": "string"},
            {"type": "string", "contentMediaType": "x"},
            ["payload has contentMediaType x, and had none"],
        ),
        ({"type": "string", "format": "uuid"}, {"type": "string"}, []),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "exclusiveMinimum": 0}, []),
        (
            {"type": "integer", "minimum": 1},
            {"type": "integer", "exclusiveMinimum": 1},
            ["payload has exclusiveMinimum 1, and had minimum 1"],
        ),
        ({"type": "object"}, {"type": "object", "properties": {}}, ["payload takes no other fields any more"]),
        (
            {"type": "object", "properties": {"a": {"title": "A"}}},
            {"type": "object", "properties": {"a": {"title": "B", "default": 1}}},
            [],
        ),
    ],
)
def test_words_of_schemas(old: Any, new: Any, said: list[str]) -> None:
    assert [str(one) for one in breaks_between(old, {"anyOf": [new]})] == said


def test_a_type_within_itself_is_compared_once() -> None:
    before = kind_of(Node).schema()
    node = before["$defs"]["Node"]
    text = {**node, "properties": {**node["properties"], "value": {"type": "string"}}}
    after = {**before, "$defs": {"Node": text}}
    assert breaks_between(before, before) == []
    assert [str(one) for one in breaks_between(before, after)] == ["payload.value is string, and was integer"]
