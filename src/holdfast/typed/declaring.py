"""The decorators: `event` and `upcast`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import ConfigurationError, InvalidEvent
from holdfast.event_types import DECLARED, event_type_of
from holdfast.names import check_name, shown_value
from holdfast.typed.declared import Declared
from holdfast.typed.kinds import kind_of
from holdfast.typed.registry import add_event, add_upcaster
from holdfast.typed.upcasting import Upcaster

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T", bound=type)
U = TypeVar("U", bound=Upcaster)

VERSION_MAX = 1_000_000


def event(
    name: str, *, version: int = 1, oldest: int = 1, key: str | Callable[[Any], Any] | None = None,
    tenant: str | Callable[[Any], Any] | None = None,
) -> Callable[[T], T]:  # fmt: skip
    """
    Declare that events of a name are values of the class below: a dataclass, msgspec Struct, pydantic model or TypedDict.

    Args:
        name: Of the event, for ever: the class may be renamed and moved.
        version: Of the class, from 1. Raise it with every change after which an old payload may not fit any more.
        oldest: The oldest version that may still come. From it on, an upcaster leads from each version to the next.
        key: The field that is the event's key, or a function from a value to it; texts, numbers and UUIDs.
        tenant: The same for its tenant. What is given to ``publish`` goes before both.

    Returns:
        The class itself, unchanged but for an attribute.

    Raises:
        ConfigurationError: The class is none that events may have, another one has the name, there is no such field.
    """
    try:
        name = check_name(name)
    except InvalidEvent as refused:
        raise ConfigurationError(f"@event: {refused}") from None
    _check_version("version", version, VERSION_MAX)
    _check_version("oldest", oldest, version)

    def declare(cls: T) -> T:
        if not isinstance(cls, type):
            raise ConfigurationError(f"@event({name!r}) stands above {shown_value(cls)}: put it above a class")
        declared = Declared(name, version, oldest, cls, kind_of(cls), key, tenant)
        for word, field in (("key", key), ("tenant", tenant)):
            if not (field is None or callable(field) or field in declared.kind.fields):
                known = ", ".join(sorted(declared.kind.fields))
                raise ConfigurationError(f"{word}={field!r} of {declared} is no field of {cls.__qualname__}: {known}")
        add_event(declared)
        setattr(cls, DECLARED, declared)
        return cls

    return declare


def upcast(event: str | type, *, from_version: int) -> Callable[[U], U]:
    """
    Declare a function that makes a payload of the next version from one of *from_version*.

    It takes a dict of JSON types and returns one, and does nothing else: it may be called at any time and often. It may
    change the dict that it is given.

    Args:
        event: The class, or the event's name.
        from_version: The version of the payload that it takes.

    Raises:
        ConfigurationError: Another function does that, or *event* is a class that is not declared.
    """
    _check_version("from_version", from_version, VERSION_MAX)
    kind = event_type_of(event)
    if kind is None and not isinstance(event, str):
        raise ConfigurationError(f"@upcast: {shown_value(event)} is no declared event: put @event above it")
    name = kind.name if kind is not None else str(event)

    def declare(upcaster: U) -> U:
        add_upcaster(name, from_version, upcaster)
        return upcaster

    return declare


def _check_version(word: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigurationError(f"{word} is {shown_value(value)}: use a whole number from 1 to {most}")
