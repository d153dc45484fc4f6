"""What may be declared as an event, and what is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pydantic
import pytest

from holdfast.errors import ConfigurationError, InvalidEvent
from holdfast.event_types import event_type_of
from holdfast.typed import event, upcast
from holdfast.typed.registry import declared_events, upcasters_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Data:
    number: int


class Struct(msgspec.Struct):
    number: int


class Model(pydantic.BaseModel):
    number: int


@pydantic.dataclasses.dataclass
class ModelledData:
    number: int


class Typed(TypedDict, total=False):
    number: int


class Array(msgspec.Struct, array_like=True):
    number: int


@pytest.fixture(params=[Data, Struct, Model, ModelledData, Typed], ids=lambda cls: cls.__name__)
def cls(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_class_stays_what_it_is_and_only_carries_what_was_declared(cls: Any) -> None:
    assert event("typed.any", version=3, oldest=2, key="number")(cls) is cls
    kind = event_type_of(cls)
    assert kind is event_type_of(cls)
    assert (kind.name, str(kind)) == ("typed.any", "typed.any, version 3")
    assert kind in declared_events()


async def test_every_kind_goes_through_a_bus(cls: Any, make_bus: Callable[..., Any]) -> None:
    event("typed.any", key="number")(cls)
    bus, got = make_bus(), list[Any]()

    async def handle(one: cls) -> None:
        got.append(one)

    handle.__annotations__["one"] = cls
    bus.subscribe(cls, handle, name="any")
    await bus.publish(cls, cls(number=7))
    await bus.drain(timeout=10)
    assert got == [cls(number=7)]
    with pytest.raises(InvalidEvent) as refused:
        await bus.publish(cls, changed(cls(number=7), "seven"))
    assert refused.value.field == "payload.number"


def changed(value: Any, number: Any) -> Any:
    if isinstance(value, dict):
        return value | {"number": number}
    value.number = number
    return value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "has spaces"}, "has the character ' ' at position 3"),
        ({"name": ""}, "is empty"),
        ({"version": 0}, "version is 0: use a whole number from 1"),
        ({"version": True}, "version is True"),
        ({"version": "2"}, "version is '2'"),
        ({"version": 2, "oldest": 3}, "oldest is 3: use a whole number from 1 to 2"),
        ({"key": "nmber"}, "key='nmber' of typed.any, version 1 is no field of Data: number"),
        ({"tenant": "shop"}, "tenant='shop' of typed.any, version 1 is no field of Data: number"),
    ],
)
def test_what_breaks_a_rule_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        event(**{"name": "typed.any", **options})(Data)
    assert event_type_of(Data) is None or event_type_of(Data).name == "typed.any"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (type("Plain", (), {}), "Plain is no dataclass, msgspec Struct, pydantic model or TypedDict"),
        (dict, "dict is no dataclass"),
        (lambda: None, "put it above a class"),
        (Array, "Array is array_like: the payload of an event is an object"),
    ],
)
def test_other_things_are_no_events(wrong: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        event("typed.any")(wrong)


def test_a_name_has_one_type_which_may_come_again() -> None:
    event("typed.any")(Data)
    event("typed.any")(Data)
    with pytest.raises(ConfigurationError, match=r"is .*test_declaring\.Data already, and cannot be .*\.Struct too"):
        event("typed.any")(Struct)


def test_a_step_has_one_upcaster_which_may_come_again() -> None:
    event("typed.any", version=2)(Data)

    def first(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    def second(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    assert upcast(Data, from_version=1)(first) is first
    upcast("typed.any", from_version=1)(first)
    assert upcasters_of("typed.any") == {1: first}
    with pytest.raises(
        ConfigurationError, match="first leads from version 1 of 'typed.any' already, and .*second cannot"
    ):
        upcast("typed.any", from_version=1)(second)
    with pytest.raises(ConfigurationError, match="from_version is 0"):
        upcast(Data, from_version=0)
    with pytest.raises(ConfigurationError, match="is no declared event: put @event above it"):
        upcast(Array, from_version=1)


@pytest.mark.parametrize("annotation", [{"number": "Nowhere"}, {"number": "int | str | bytes | float | list | tuple"}])
def test_a_type_that_cannot_be_built_says_so_at_its_first_use(annotation: dict[str, Any]) -> None:
    broken = make_dataclass("Broken", list(annotation.items()), namespace={"__module__": __name__})
    declared = event_type_of(event("typed.any")(broken))
    for use in (lambda: declared.kind.decode(b"{}"), lambda: declared.kind.schema()):
        with pytest.raises(ConfigurationError, match=r"Broken cannot be an event: "):
            use()


def test_a_program_without_types_imports_none_of_it() -> None:
    script = (
        "import asyncio, sys, holdfast\n"
        "bus = holdfast.EventBus('sqlite://')\n"
        "def handle(event: holdfast.Event): pass\n"
        "bus.subscribe('a', handle, name='s')\n"
        "async def main():\n"
        "    await bus.publish('a'); await bus.drain(timeout=10); await bus.close()\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith('holdfast.typed') or name == 'pydantic'])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
