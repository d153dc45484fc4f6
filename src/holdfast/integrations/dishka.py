"""Handlers that get what they need from a container of dishka."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from holdfast.errors import MissingExtra
from holdfast.integrations.resolving import resolving

try:
    from dishka import AsyncContainer, Container
except ImportError as missing:
    raise MissingExtra("dishka", "dishka", "holdfast.integrations.dishka") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from holdfast.subscription import Around

__all__ = ["scoped"]


def scoped(container: AsyncContainer | Container) -> Around:
    """
    The ``around=`` of a bus whose handlers ask a container for what they need: see `resolving`.

    Each call has a scope ``REQUEST`` of its own. In it are the `Event` and the `Delivery`, for providers that declare
    ``from_context`` of them. An asynchronous container serves async handlers only.
    """
    return resolving(_Scopes(container))


class _Scopes:
    def __init__(self, container: AsyncContainer | Container) -> None:
        self._container = container
        self.serves_plain = not isinstance(container, AsyncContainer)

    @contextmanager
    def scope(self, context: dict[Any, Any]) -> Iterator[Callable[[Any], Any]]:
        assert isinstance(self._container, Container)
        with self._container(context=context) as opened:
            yield opened.get

    @asynccontextmanager
    async def async_scope(self, context: dict[Any, Any]) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
        if isinstance(self._container, AsyncContainer):
            async with self._container(context=context) as opened:
                yield opened.get
            return
        with self._container(context=context) as plain:

            async def get(kind: Any) -> Any:
                return plain.get(kind)

            yield get
