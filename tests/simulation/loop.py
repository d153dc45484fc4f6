"""An event loop of our own: virtual time, an order of callbacks that the seed chooses, and processes that can vanish.

Real loops differ in when I/O is ready, so tasks that do not wait for each other may run in any order. Here the seed
picks that order, time jumps to the next timer as soon as nothing else is ready, and a run repeats exactly.

Callbacks belong to the process in whose context they were made. Those of a killed process are dropped, and its
coroutines are kept, not closed: a ``finally`` that runs after SIGKILL would be a clean-up that nothing does in reality.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from asyncio import events
from collections import deque
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context
    from random import Random

T = TypeVar("T")

STEPS_MAX = 50_000
"""Callbacks without a move of virtual time, after which the run counts as a livelock."""


class Stuck(AssertionError):
    """The run cannot reach its goal any more."""


class Deadlock(Stuck):
    """Nothing is ready, no timer is set, and the goal is not reached."""


class Livelock(Stuck):
    """Callbacks run without end and neither time nor the goal gets on."""


class Handle:
    """A callback that waits for its turn. The standard one does more than a run of many seeds can pay for."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "when")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float) -> None:
        self.callback, self.args, self.context, self.when = callback, args, context, when
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def __repr__(self) -> str:
        return f"{self.callback!r} {self.args!r}"


class Process:
    """A simulated operating system process: what the kernel can do to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.busy = 0
        """Handlers that run now."""
        self.tasks: list[asyncio.Task[Any]] = []
        self._held_back: list[Handle] = []

    def hold_back(self, handle: Handle) -> None:
        """It may not run now: what is due while it is paused runs when it goes on."""
        if self.alive:
            self._held_back.append(handle)

    def kill(self) -> None:
        self.alive = False
        self._held_back.clear()

    def pause(self) -> None:
        self.paused = True

    def resume(self, loop: SimulatedLoop) -> None:
        self.paused = False
        loop.make_ready(self._held_back)
        self._held_back = []

    def __repr__(self) -> str:
        return self.name


PROCESS: ContextVar[Process | None] = ContextVar("simulated_process", default=None)


class SimulatedLoop(asyncio.AbstractEventLoop):
    """
    Runs callbacks one at a time, in an order drawn from *random*.

    Args:
        random: The seed's.
        disorder: How often, 0 to 1, another callback than the oldest runs next. 0 is the order of asyncio itself.
    """

    def __init__(self, random: Random, *, disorder: float) -> None:
        self._random, self._disorder = random.random, disorder
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._number = 0
        self._now = 0.0
        self._closed = False
        self.steps = 0
        self.failures: list[dict[str, Any]] = []
        """What nobody handled: errors in callbacks, and of tasks that nobody awaited."""

    # The run

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run until *work* has ended; returns its result.

        Raises:
            Deadlock, Livelock
            Whatever *work* raises.
        """
        events._set_running_loop(self)
        try:
            goal: asyncio.Task[T] = self.create_task(work)
            while not goal.done():
                self._next_instant()
                self._run_ready(goal)
            return goal.result()
        finally:
            events._set_running_loop(None)

    def _next_instant(self) -> None:
        """Let time jump to the next timer, if nothing is ready; make ready what is due."""
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if not self._ready:
            if not timers:
                raise Deadlock(f"nothing is ready and no timer is set at {self._now:.3f} s")
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])

    def _run_ready(self, goal: asyncio.Task[Any]) -> None:
        """Run everything that is ready at this instant, what becomes ready meanwhile included."""
        ready, begun = self._ready, self.steps
        while ready and not goal.done():
            handle = self._pick()
            if handle.is_cancelled:
                continue
            process = handle.context.get(PROCESS)
            if process is not None and (process.paused or not process.alive):
                process.hold_back(handle)
                continue
            self.steps += 1
            if self.steps - begun > STEPS_MAX:
                raise Livelock(f"{STEPS_MAX} callbacks at {self._now:.3f} s, the next one {handle!r}")
            try:
                handle.context.run(handle.callback, *handle.args)
            except Exception as error:
                self.call_exception_handler({"message": f"error in {handle!r}", "exception": error})

    def _pick(self) -> Handle:
        ready = self._ready
        if self._disorder and len(ready) > 1 and self._random() < self._disorder:
            index = int(self._random() * len(ready))
            handle = ready[index]
            del ready[index]
            return handle
        return ready.popleft()

    def make_ready(self, handles: list[Handle]) -> None:
        self._ready.extend(handles)

    def bury(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Let go of the coroutines of vanished processes, after the run: what they still say goes nowhere."""
        self._closed = True
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        events._set_running_loop(self)
        try:
            for task in tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    _close(task.get_coro())
            tasks.clear()
        finally:
            events._set_running_loop(None)
            sys.unraisablehook = hook

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Handle:
        handle = Handle(callback, args, copy_context() if context is None else context, self._now)
        if not self._closed:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # there are no threads

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, copy_context() if context is None else context, when)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        if (process := PROCESS.get()) is not None:
            process.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._closed


def _close(work: Any) -> None:
    """Close a coroutine that may go on awaiting when it is told to end."""
    while work.cr_frame is not None:
        with suppress(BaseException):
            work.close()
