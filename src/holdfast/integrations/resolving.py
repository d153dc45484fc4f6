"""Handlers that ask for what they need by the types of their parameters, each call with a scope of its own."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, get_type_hints

from holdfast.errors import InvalidSubscription
from holdfast.subscription import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from holdfast.subscription import Around, Handler


class Scopes(Protocol):
    """
    Where values come from: a container of dependencies.

    Each call of a handler gets a scope, which is closed when it ends, whatever the end. Both take what the handler is
    given, by type: the `Event`, and the `Delivery`; for a batch nothing.

    Attributes:
        serves_plain: Whether there is a scope for plain functions, too.
    """

    serves_plain: bool

    def scope(self, context: dict[Any, Any]) -> AbstractContextManager[Callable[[Any], Any]]:
        """For a plain function; gives what makes a value of a type. Called in the handler's thread."""
        ...

    def async_scope(self, context: dict[Any, Any]) -> AbstractAsyncContextManager[Callable[[Any], Awaitable[Any]]]:
        """For an async one."""
        ...


def resolving(scopes: Scopes) -> Around:
    """
    The ``around=`` of a bus whose handlers ask for what they need.

    A handler's first parameter is the event, as ever. One whose type is `Delivery`, or a second one without a type, is
    the delivery. Every other one that has no default is made by its type, in a scope of the call.

    Raises:
        InvalidSubscription: When a handler is declared, one of whose parameters has no type, or one that cannot be read;
            or a plain function where the scopes are for async ones only.
    """

    def around(handler: Handler) -> Handler:
        needs = needs_of(handler)
        if not needs.types:
            return handler
        is_async = _is_async(handler)
        if not is_async and not scopes.serves_plain:
            raise InvalidSubscription(
                "handler", "is a plain function, and the container is asynchronous", "make one of them like the other"
            )
        called: Any = _async_call(handler, needs, scopes) if is_async else _call(handler, needs, scopes)
        functools.update_wrapper(called, handler)
        del called.__wrapped__  # or what is called would be asked for the handler's own parameters
        return called  # type: ignore[no-any-return]

    return around


class Needs(NamedTuple):
    """What a handler asks for: types by parameter, and the name of the one that takes the delivery."""

    types: dict[str, Any]
    delivery: str | None


def needs_of(handler: Handler) -> Needs:
    """Raises InvalidSubscription: A parameter says not what it is."""
    function = handler.func if isinstance(handler, functools.partial) else handler
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    try:
        hints = get_type_hints(
            function if inspect.isroutine(function) else type(function).__call__, include_extras=True
        )
    except (NameError, TypeError) as error:
        raise InvalidSubscription(
            "handler",
            f"has a type that cannot be read: {error}",
            "import it where the program runs, not for checkers only",
        ) from error
    types, delivery = dict[str, Any](), None
    for place, one in enumerate(parameters):
        kind = hints.get(one.name)
        if kind is Delivery or (kind is None and place == 0 and one.default is one.empty):
            delivery = one.name
        elif one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            if kind is None:
                raise InvalidSubscription("handler", f"takes {one.name!r} without a type", "say of which type it is")
            if one.kind is one.POSITIONAL_ONLY:
                raise InvalidSubscription("handler", f"takes {one.name!r} by position only", "take it by name")
            types[one.name] = kind
    return Needs(types, delivery)


def _is_async(handler: Handler) -> bool:
    function = handler.func if isinstance(handler, functools.partial) else handler
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _async_call(handler: Handler, needs: Needs, scopes: Scopes) -> Handler:
    async def call(given: Any, delivery: Any) -> Any:
        async with scopes.async_scope(_context(given, delivery)) as resolve:
            found = {name: await resolve(kind) for name, kind in needs.types.items()}
            return await handler(given, **found, **_delivery(needs, delivery))

    return call


def _call(handler: Handler, needs: Needs, scopes: Scopes) -> Handler:
    def call(given: Any, delivery: Any) -> Any:
        with scopes.scope(_context(given, delivery)) as resolve:
            found = {name: resolve(kind) for name, kind in needs.types.items()}
            return handler(given, **found, **_delivery(needs, delivery))

    return call


def _context(given: Any, delivery: Any) -> dict[Any, Any]:
    return {} if isinstance(given, list) else {type(given): given, Delivery: delivery}


def _delivery(needs: Needs, delivery: Any) -> dict[str, Any]:
    return {} if needs.delivery is None else {needs.delivery: delivery}
