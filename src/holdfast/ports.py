"""What the engine takes from the world outside: clocks, randomness, who this process is.

The only module of the core that may call these; simulations put their own in place of `SYSTEM`.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from collections.abc import Callable


def wall_millis() -> int:
    """Milliseconds since 1970 by this machine's clock. Never decides about leases or visibility."""
    return time.time_ns() // 1_000_000


def elapsed() -> float:
    """Seconds on a clock that goes on while the machine sleeps: a lease does not wait for a suspended laptop."""
    return time.clock_gettime(_ELAPSED_CLOCK)


_ELAPSED_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Tells this process from every other on any host, and whether one on this host still lives."""

    host: str
    boot_id: str
    pid: int
    pid_started: str


def process_number() -> int:
    """Number of this process: another one after a fork."""
    return os.getpid()


def process_identity() -> ProcessIdentity:
    pid = os.getpid()
    return ProcessIdentity(platform.node(), _boot_id(), pid, process_started(pid) or "")


def process_started(pid: int) -> str | None:
    """When the process *pid* started, as the system writes it; None if there is none.

    An empty text where the system does not tell: then nobody can be declared dead by it.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else ""
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as the worker sees it."""

    elapsed: Callable[[], float] = elapsed
    random: Callable[[], float] = random.random
    new_worker_id: Callable[[], UUID] = uuid4
    process_started: Callable[[int], str | None] = process_started


SYSTEM = Ports()


class DaemonThreads:
    """A bounded pool of daemon threads: one that never returns cannot keep the process from ending.

    The standard library's executor joins its threads at exit, a stuck handler would hang the program.

    Args:
        name: Shown as the threads' name.
        limit: Most threads; they are started when needed and end when idle.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name, self._limit = name, limit
        self._waiting: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any], asyncio.AbstractEventLoop] | None]
        self._waiting = SimpleQueue()
        self._threads = 0
        self._busy = 0

    def run(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run *function* in a thread; returns a future of the running loop. Call it from that loop only."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._busy += 1
        if self._busy > self._threads and self._threads < self._limit:
            self._threads += 1
            Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._waiting.put((function, future, loop))
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: asyncio.Future[Any]) -> None:
        self._busy -= 1

    def close(self) -> None:
        """End the idle threads; busy ones end when their function returns."""
        for _ in range(self._threads):
            self._waiting.put(None)
        self._threads = 0

    def _serve(self) -> None:
        while (job := self._waiting.get()) is not None:
            function, future, loop = job
            try:
                result, error = function(), None
            except BaseException as raised:  # noqa: BLE001 - it is the caller's to judge
                result, error = None, raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, future, result, error)
            del job, function, future, result, error


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError("the handler raised StopIteration"))
    else:
        future.set_exception(error)
