"""What the engine takes from the world outside: clocks, randomness, who this process is.

The only module of the core that may call these; simulations put their own in place of `SYSTEM`.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from uuid import UUID, uuid4

from holdfast.event import from_micros
from holdfast.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from datetime import datetime

T = TypeVar("T")


def wall_millis() -> int:
    """Milliseconds since 1970 by this machine's clock. Never decides about leases or visibility."""
    return time.time_ns() // 1_000_000


def wall_micros() -> int:
    """Microseconds since 2000 by this machine's clock, as stored times count. As `wall_millis`, it decides nothing."""
    return time.time_ns() // 1_000 - _MICROS_TO_2000


def utc_now() -> datetime:
    """The time by this machine's clock. As `wall_millis`, it decides nothing."""
    return from_micros(wall_micros())


_MICROS_TO_2000 = 946_684_800_000_000


def elapsed() -> float:
    """Seconds on a clock that goes on while the machine sleeps: a lease does not wait for a suspended laptop."""
    return time.clock_gettime(_ELAPSED_CLOCK)


_ELAPSED_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def random_bytes(count: int) -> bytes:
    """So many bytes that nobody can guess: keys and nonces."""
    return os.urandom(count)


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
    except FileNotFoundError:  # gone, or hidden from this user
        return None if Path("/proc/self/stat").exists() and not _is_there(pid) else ""
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@cache
def _boot_id() -> str:
    """Of the kernel and, as containers may share that and the host's name, of the space that process numbers are in."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


class BackgroundLoop:
    """An event loop in a daemon thread, started at its first use, for callers in other threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._process = os.getpid()

    @property
    def is_running(self) -> bool:
        return self._loop is not None and self._process == os.getpid()

    @property
    def is_this_thread(self) -> bool:
        return self.is_running and current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* in the loop and wait for its result; a KeyboardInterrupt here cancels it there."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def post(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run *work* in the loop without waiting."""
        return asyncio.run_coroutine_threadsafe(work, self._started())

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._process = os.getpid()  # a forked child has the parent's loop, but not its thread
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Stop the loop; what still runs in it is cancelled."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or self._process != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Outcome(NamedTuple):
    """What a function did in a thread. A value, because a future cannot carry every error (StopIteration)."""

    value: Any
    error: BaseException | None = None

    def unwrap(self) -> Any:
        """The value, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.value


class Call:
    """A function that runs in a thread. ``answer``, a future of the running loop, is cancelled with whoever awaits it."""

    __slots__ = ("_ended", "answer", "function")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[None] | None = None

    @property
    def ended(self) -> asyncio.Future[None]:
        """Tells when the thread returns, though the wait for its answer was cancelled."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
        return self._ended

    def return_(self, outcome: Outcome) -> None:
        """The thread has returned; called in the loop."""
        if not self.answer.done():
            self.answer.set_result(outcome)
        elif not self.ended.done():
            self.ended.set_result(None)


class Threads(Protocol):
    """Where plain functions run, beside the loop."""

    def run(self, function: Callable[[], Any]) -> Call:
        """Run *function*."""
        ...

    def allow(self, limit: int) -> None:
        """From here on at most so many functions run at once, but for those that run already."""
        ...

    def close(self) -> None:
        """Nothing more will be run."""
        ...


class DaemonThreads:
    """A bounded pool of daemon threads: one that never returns cannot keep the process from ending.

    The standard library's executor joins its threads at exit, a stuck handler would hang the program.

    Args:
        name: Shown as the threads' name.
        limit: Most threads; they are started when needed and end when idle.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name, self._limit = name, limit
        self._waiting: SimpleQueue[Call | None] = SimpleQueue()
        self._returned: deque[tuple[Call, Outcome]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_is_told = False
        self._threads = 0
        self._busy = 0

    def allow(self, limit: int) -> None:
        self._limit = limit  # fewer than there are: whoever calls hands out less

    def run(self, function: Callable[[], Any]) -> Call:
        """Run *function* in a thread. Call it from one loop only."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        call = Call(function)
        self._busy += 1
        if self._busy > self._threads and self._threads < self._limit:
            self._threads += 1
            Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._waiting.put(call)
        return call

    def close(self) -> None:
        """End the idle threads; busy ones end when their function returns."""
        for _ in range(self._threads):
            self._waiting.put(None)
        self._threads = 0

    def _serve(self) -> None:
        while (call := self._waiting.get()) is not None:
            try:
                outcome = Outcome(call.function())
            except BaseException as raised:  # noqa: BLE001 - it is the caller's to judge
                outcome = Outcome(None, raised)
            self._returned.append((call, outcome))
            del call, outcome
            if not self._loop_is_told:  # waking the loop costs more than many a function
                self._loop_is_told = True
                assert self._loop is not None
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._loop_is_told = False  # before anything is taken: what returns from here on tells the loop again
        while self._returned:
            call, outcome = self._returned.popleft()
            self._busy -= 1
            call.return_(outcome)


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as the worker sees it."""

    elapsed: Callable[[], float] = elapsed
    wall_micros: Callable[[], int] = wall_micros
    random: Callable[[], float] = random.random
    new_worker_id: Callable[[], UUID] = uuid4
    new_event_id: Callable[[], UUID] = new_id
    identity: Callable[[], ProcessIdentity] = process_identity
    process_started: Callable[[int], str | None] = process_started
    threads: Callable[[str, int], Threads] = DaemonThreads


SYSTEM = Ports()
