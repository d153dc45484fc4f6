"""Pages that refresh themselves: the same part of a page, sent again and again as server-sent events."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.dashboard.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_INTERVAL_SECONDS = 2.0
_REST = 5.0
"""A page is made again after at least so many times as long as it took: a slow one does not load the store."""

_STREAM_SECONDS = 300.0
"""Then the browser asks again, and passes the guard again."""

_STREAMS_MAX = 100


class Streams:
    """The streams that are open."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()
        self._open = 0

    def close(self) -> None:
        """End them all."""
        self._closing.set()

    def stream(self, fragment: Callable[[], Awaitable[tuple[str, str]]]) -> AsyncIterator[str]:
        """
        Events with the name and text that *fragment* makes, until the browser leaves.

        Raises:
            Refusal: There are too many.
        """
        if self._open >= _STREAMS_MAX:
            raise Refusal(503, "Too many look at once", f"At most {_STREAMS_MAX} pages refresh themselves.")
        return self._sent(fragment)

    async def _sent(self, fragment: Callable[[], Awaitable[tuple[str, str]]]) -> AsyncIterator[str]:
        self._open += 1
        until = time.monotonic() + _STREAM_SECONDS
        try:
            while not self._closing.is_set() and time.monotonic() < until:
                begun = time.monotonic()
                yield as_event(*await fragment())
                took = time.monotonic() - begun
                await self._pause(max(_INTERVAL_SECONDS, took * _REST))
        finally:
            self._open -= 1

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


def as_event(name: str, text: str) -> str:
    """One event in the format of ``text/event-stream``: what begins a line in it must be no field of ours."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {name}\n{lines}\n"
