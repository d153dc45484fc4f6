"""A TCP connection to a broker that loses answers when told to."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from tests.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire:
    """Passes connections on to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, 0
        self._loses_answers = False
        self.passed = asyncio.Event()
        """Set when something went forth while answers were lost."""
        self._listener = Listener(self._serve)
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self.port = await self._listener.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.close()

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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            return
        ends = {writer, forth}
        self._writers |= ends
        pumps = [
            asyncio.ensure_future(self._pump(reader, forth, is_answer=False)),
            asyncio.ensure_future(self._pump(back, writer, is_answer=True)),
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

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
