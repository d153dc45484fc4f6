"""Idle latency of an alternative, by the method and the clock of `holdfast.bench.latency`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from holdfast.bench.apart import SPAWN
from holdfast.bench.latency import Times, compare, pauses

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from holdfast.bench.workload import Numbers

_PATIENCE = 10.0

Publish = Callable[[Sequence[float]], Coroutine[Any, Any, Times]]
"""Publishes as many events as there are pauses, each followed by its pause, and says when each call had returned."""

Work = Callable[..., None]
"""A worker, run in a process of its own, that reports through the pipe that is its first argument; see `Entries`."""


def measure(events: int, publish: Publish, work: Work, *arguments: Any) -> Numbers:
    """Publish *events* after a warm-up, while *work* handles them in another process, called with a pipe and *arguments*."""
    here, there = SPAWN.Pipe()
    worker = SPAWN.Process(target=work, args=(there, *arguments))
    worker.start()
    there.close()  # so that the pipe ends with the worker
    try:
        here.recv()  # it works
        returned = asyncio.run(publish(pauses(events)))
        here.send(len(returned))
        entered: list[tuple[Hashable, int]] = here.recv()
    finally:
        here.close()
        worker.join()
    return compare(returned, entered)


class Entries:
    """When the handler was entered, for which event. Made inside the worker's event loop; noted from any thread."""

    def __init__(self) -> None:
        self._entered: list[tuple[Hashable, int]] = []
        self._loop, self._called = asyncio.get_running_loop(), asyncio.Event()

    def note(self, event: Hashable) -> None:
        self._entered.append((event, time.monotonic_ns()))
        self._loop.call_soon_threadsafe(self._called.set)

    async def report(self, pipe: Connection) -> None:
        """Say that the worker works and, asked for a number of calls, when each one was."""
        pipe.send("works")
        try:
            expected = await asyncio.to_thread(pipe.recv)
        except EOFError:  # whoever publishes has failed, and says so itself
            return
        with suppress(TimeoutError):  # what is missing then is counted as lost
            async with asyncio.timeout(_PATIENCE):
                while len(self._entered) < expected:
                    self._called.clear()
                    await self._called.wait()
        pipe.send(self._entered)
