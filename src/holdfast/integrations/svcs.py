"""Handlers that get what they need from a registry of svcs."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from holdfast.errors import MissingExtra
from holdfast.integrations.resolving import resolving

try:
    import svcs
except ImportError as missing:
    raise MissingExtra("svcs", "svcs", "holdfast.integrations.svcs") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from holdfast.subscription import Around

__all__ = ["scoped"]


def scoped(registry: svcs.Registry) -> Around:
    """
    The ``around=`` of a bus whose handlers ask a registry for what they need: see `resolving`.

    Each call has a container of its own, which is closed when it ends. In it are the `Event` and the `Delivery`.
    """
    return resolving(_Scopes(registry))


class _Scopes:
    serves_plain = True

    def __init__(self, registry: svcs.Registry) -> None:
        self._registry = registry

    def _container(self, context: dict[Any, Any]) -> svcs.Container:
        made = svcs.Container(self._registry)
        for kind, value in context.items():
            made.register_local_value(kind, value)
        return made

    @contextmanager
    def scope(self, context: dict[Any, Any]) -> Iterator[Callable[[Any], Any]]:
        with self._container(context) as opened:
            yield opened.get

    @asynccontextmanager
    async def async_scope(self, context: dict[Any, Any]) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
        async with self._container(context) as opened:
            yield opened.aget
