"""What stands round the handlers of a project: connections of Django that are too old are closed before and after."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.subscription import Around, Handler


def surrounding(between: Callable[[], None], own: Around | None) -> Around:
    """
    The ``around=`` of a project's bus.

    Args:
        between: Called before and after each handler, in the thread whose connections it uses: its own, or for an async
            one that of Django's asynchronous calls.
        own: What the project itself puts round handlers, inside of this.
    """

    def around(handler: Handler) -> Handler:
        inner: Any = handler if own is None else own(handler)
        if inspect.iscoroutinefunction(inner):
            aside = sync_to_async(between)

            @functools.wraps(inner)
            async def call(*given: Any) -> Any:
                await aside()
                try:
                    return await inner(*given)
                finally:
                    await aside()

            return call

        @functools.wraps(inner)
        def call_plain(*given: Any) -> Any:
            between()
            try:
                return inner(*given)
            finally:
                between()

        return call_plain

    return around
