"""A TCP connection to a broker that loses answers when told to."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire:
    """Passes connections on to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, 0
        self._loses_answers = False
        self.passed = asyncio.Event()
        """Set when something went forth while answers were lost."""
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def losing_answers(self) -> Iterator[None]:
        """Requests arrive, nothing comes back; at the end the connections are cut."""
        self._loses_answers = True
        self.passed.clear()
        try:
            yield
        finally:
            self._loses_answers = False
            self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, forth]
        for one in (self._pump(reader, forth, is_answer=False), self._pump(back, writer, is_answer=True)):
            task = asyncio.create_task(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if self._loses_answers and is_answer:
                    continue
                writer.write(data)
                await writer.drain()
                if self._loses_answers:
                    self.passed.set()
        writer.transport.abort()
