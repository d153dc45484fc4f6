"""A listener for tests, all of whose connections are closed, whatever ended them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine


class Listener:
    """
    Serves each connection of 127.0.0.1 in a task of its own.

    A stream that is let go while it is open warns in whatever test runs just then. So a connection is closed when its
    task is done, also one that was cancelled before it began, and one that comes when nobody listens any more at once.
    """

    def __init__(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
    ) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._served: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> int:
        """Returns the port, which is a free one where none is asked for."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    def shut(self) -> None:
        """Take no more connections; those that are there go on."""
        if self._server is None:
            return
        server, self._server = self._server, None
        loop = asyncio.get_running_loop()
        for one in server.sockets:
            loop.remove_reader(one.fileno())
        loop.call_soon(server.close)  # not before what it has accepted is attached to it, or that stays open for ever

    async def close(self) -> None:
        """Take no more connections and end those that are there."""
        self.shut()
        served = dict(self._served)
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
        for writer in served.values():  # or the loop may be closed before the sockets are
            with suppress(OSError):
                await writer.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._served[task] = writer
        task.add_done_callback(partial(self._ended, writer))

    def _ended(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        del self._served[task]
        writer.close()
