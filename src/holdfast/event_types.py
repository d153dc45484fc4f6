"""What the core knows of typed events: a class carries what was declared of it by `holdfast.typed`. No I/O."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Sequence
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Protocol,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from holdfast.errors import InvalidSubscription
from holdfast.names import shown, shown_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.subscription import Handler

DECLARED = "__holdfast_event__"
"""The attribute of a class that has its `EventType`."""

VERSION_HEADER = "event_version"
"""The header that says by which version of its type an event was published. Without it: 1."""

Unknown = Literal["skip", "hold", "dead"]
"""What becomes of an event whose name or version a handler's types do not know."""

_EVENT = re.compile(r"\bEvent\b")


class Outgoing(NamedTuple):
    """What is stored of a typed event."""

    payload: Any
    tenant_id: str | None
    key: str | None
    headers: Mapping[str, str]


class EventType(Protocol):
    """An event that was declared with a type: what the core asks of it."""

    @property
    def name(self) -> str: ...

    def outgoing(
        self, given: Any, payload: Any, *, tenant_id: str | None, key: str | None,
        headers: Mapping[str, str] | None, index: int | None,
    ) -> Outgoing:  # fmt: skip
        """
        What is to be stored of a value of the type: *given*, or *payload* where *given* is the type itself.

        Raises:
            InvalidEvent: It is no such value, or cannot be written.
        """
        ...

    def require_valid(self, encoded: bytes, index: int | None) -> None:
        """Raise InvalidEvent where a handler could not decode the payload."""
        ...

    def require_chain(self) -> None:
        """Raise ConfigurationError where no upcaster leads from an older version to the next."""
        ...

    def decoding(
        self, handler: Handler, types: Sequence[Any], *, is_async: bool, is_batch: bool, unknown: Unknown
    ) -> Handler:
        """What is called with events in place of *handler*, which takes values of *types*, this one among them."""
        ...


def event_type_of(given: object) -> EventType | None:
    """What was declared of a class, or of that of a value; None: nothing. What a base class declares is not meant."""
    kind = given if isinstance(given, type) else type(given)
    found: EventType | None = kind.__dict__.get(DECLARED)
    return found


def name_of(given: Any) -> Any:
    """The name of an event that is published by its name, or as a value of its type."""
    kind = None if type(given) is str else event_type_of(given)
    return given if kind is None else kind.name


def typed_handler(
    handler: Handler, given: Any, patterns: tuple[str, ...], *, is_async: bool, is_batch: bool, unknown: Any
) -> tuple[tuple[EventType, ...], Handler]:  # fmt: skip
    """
    The types of events that *handler* takes by its first parameter, and what is called with events in its place.

    Args:
        given: The patterns as `subscribe` got them, types among them.
        patterns: The same, checked.
        unknown: As given; None where it was not.

    Raises:
        InvalidSubscription: The parameter's type cannot be read, or does not suit patterns and options.
    """
    subscribed = [one for one in (given if isinstance(given, list | tuple) else (given,)) if event_type_of(one)]
    wanted = _first_type(handler, {one.__name__: one for one in subscribed if isinstance(one, type)})
    # Elsewhere a type that only checkers see says nothing: the handler takes events, as it did before there were types.
    if isinstance(wanted, str) and not _EVENT.search(wanted) and (subscribed or unknown is not None):
        _refuse(
            f"takes a {shown(wanted)}, which cannot be read here",
            "import it where the program runs, not for type checkers only",
        )
    of_what = get_args(wanted) if get_origin(wanted) in (list, Sequence) else ()
    is_list = bool(of_what)
    types = _types_in(of_what[0] if is_list else wanted)
    if not types:
        _check_untyped(wanted, unknown, by_type=bool(subscribed))
        return (), handler
    if is_list != is_batch:
        problem = "takes a list, without batch=" if is_list else "takes one event, with batch="
        _refuse(problem, "let both say the same")
    _check_patterns(patterns, [kind.name for kind in types], unknown)
    unknown = "hold" if unknown is None else unknown
    return types, types[0].decoding(handler, types, is_async=is_async, is_batch=is_batch, unknown=unknown)


def _types_in(wanted: Any) -> tuple[EventType, ...]:
    if get_origin(wanted) is Annotated:
        wanted = get_args(wanted)[0]
    members = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    types = tuple(kind for one in members if (kind := event_type_of(one)) is not None)
    if types and len(types) < len(members):
        _refuse("takes a declared event or something else", "let all types of its first parameter be declared events")
    return types


def _check_untyped(wanted: Any, unknown: Any, *, by_type: bool) -> None:
    if by_type and wanted is None:
        _refuse("does not say what it takes", "give its first parameter a type: the declared one, or Event")
    if unknown is not None:
        raise InvalidSubscription(
            "unknown", "is given, and the handler takes every event as it is", "leave it out, or take a declared type"
        )


def _refuse(problem: str, rule: str) -> NoReturn:
    raise InvalidSubscription("handler", problem, rule)


def _check_patterns(patterns: tuple[str, ...], names: list[str], unknown: Any) -> None:
    if unknown not in (None, *get_args(Unknown)):
        raise InvalidSubscription("unknown", f"is {shown_value(unknown)}", "use 'skip', 'hold' or 'dead'")
    for pattern in patterns:
        if "*" not in pattern and pattern not in names:
            _refuse(f"takes {' or '.join(names)}, and is subscribed to {pattern}", "let both say the same")
        if "*" in pattern and unknown is None:
            raise InvalidSubscription(
                "unknown",
                f"is not given, and {pattern} may bring more than {' or '.join(names)}",
                'say what becomes of other events: unknown="skip", "hold" or "dead"',
            )


def _first_type(handler: Handler, names: dict[str, Any]) -> Any:
    """What the first parameter says it is: None where it says nothing, a text where that cannot be read."""
    function: Any = handler
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError, NameError):
        return None
    if not parameters or (said := parameters[0].annotation) is inspect.Parameter.empty:
        return None
    return _read(said, getattr(inspect.unwrap(function), "__globals__", {}), names) if isinstance(said, str) else said


def _read(text: str, surroundings: dict[str, Any], names: dict[str, Any]) -> Any:
    def probe() -> None: ...

    probe.__annotations__ = {"first": text}
    try:
        return get_type_hints(probe, globalns=surroundings, localns=names, include_extras=True)["first"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return text
