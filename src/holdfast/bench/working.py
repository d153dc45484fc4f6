"""Workers in processes of their own, watched from the process that measures."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.bench.apart import SPAWN, peak_memory
from holdfast.bench.buses import make_bus, subscribe

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType
    from typing import Self

_PAUSE = 0.001


class Seen(NamedTuple):
    """What a worker tells of itself.

    Attributes:
        entered: Which event was handed to a handler, and when by `time.monotonic_ns`, in this order; empty if the
            worker was not to keep times.
        busy: Seconds of processor time.
        peak: Bytes, the most that it has held.
    """

    entered: list[tuple[bytes, int]]
    busy: float
    peak: int


class Worker:
    """
    A worker process; entered, it works.

    It is of the group of the process that measures, and ends with it.

    Args:
        dsn: The store.
        subscriptions: How many it runs; see `holdfast.bench.workload.name_of`.
        keep_times: Whether it notes each call. That takes memory, and a little time.
    """

    def __init__(self, dsn: str, *, subscriptions: int = 1, keep_times: bool = False) -> None:
        self._pipe, self._there = SPAWN.Pipe()
        self._calls = SPAWN.RawValue("q")
        arguments = (dsn, subscriptions, keep_times, self._there, self._calls)
        self._process = SPAWN.Process(target=_work, args=arguments)

    def __enter__(self) -> Self:
        self._process.start()
        self._there.close()  # so that the pipe ends with the worker
        self._pipe.recv()  # it works
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()  # which it takes for a request to stop
        self._process.join()

    @property
    def calls(self) -> int:
        """How often a handler was called; of a dead worker too."""
        return int(self._calls.value)

    def look(self) -> Seen:
        """Ask it."""
        self._pipe.send(True)
        seen: Seen = self._pipe.recv()
        return seen

    def kill(self) -> None:
        """As ``kill -9`` does; the process is gone when this returns."""
        self._process.kill()
        self._process.join()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _work(dsn: str, subscriptions: int, keep_times: bool, pipe: Connection, calls: Any) -> None:
    logging.getLogger("holdfast").setLevel(logging.ERROR)  # that a neighbour was killed is no news here
    entered: list[tuple[bytes, int]] = []

    async def handle(event: Any) -> None:
        if keep_times:
            entered.append((event.id.bytes, time.monotonic_ns()))
        calls.value += 1

    async def run() -> None:
        bus = make_bus(dsn)
        subscribe(bus, handle, subscriptions)
        async with bus:
            pipe.send(None)
            while await _is_asked(pipe):
                pipe.send(Seen(entered, time.process_time(), peak_memory()))

    asyncio.run(run())


async def _is_asked(pipe: Connection) -> bool:
    """Whether it was; False when the other end is closed."""
    try:
        await asyncio.to_thread(pipe.recv)
    except (EOFError, ConnectionResetError):  # the latter if it had asked and did not wait for the answer
        return False
    return True
