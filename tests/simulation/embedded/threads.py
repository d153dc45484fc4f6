"""The SQLite store's threads without threads: a job is one step of the simulated loop, in the process that asked."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreBusy, StoreUnavailable
from holdfast.stores.sqlite.threads import OneThread, Turn
from tests.simulation.loop import PROCESS
from tests.simulation.network import unavailable
from tests.simulation.threads import LOOK_SECONDS, Blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.embedded.store import File
    from tests.simulation.weather import Fate

TIMEOUT = 2.0
"""Virtual seconds for which a job tries to get a lock."""
_MUST_RUN = ("begin", "commit")
"""Whoever holds locks gives them back: the engine's threads do not fail by themselves."""


class VirtualTurn(Turn):
    """Never waits: there is one real thread, and who would give the lock back could not run.

    Nor does it say `StoreBusy`, upon which the queue of handlers' transactions asks on.
    """

    def take(self, timeout: float) -> None:
        del timeout
        if not self._lock.acquire(blocking=False):
            raise Blocked(self._where)


@dataclass(slots=True)
class Job:
    """A call on its way, and what it does."""

    name: str
    call: Callable[[], Any]
    future: Future[Any]


class VirtualThread(OneThread):
    """One job after the other, each when the weather lets it. Those of a killed process never run."""

    def __init__(self, name: str, file: File) -> None:
        super().__init__(name)
        self._file = file
        self._queue: deque[Job] = deque()

    def submit(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self.is_started = True
        # What runs on a session is the first argument.
        name = (args[0] if call.__name__ == "_work" else call).__name__.lstrip("_")
        job = Job(name, partial(call, *args, **kwargs), Future())
        self._queue.append(job)
        if len(self._queue) == 1:
            self._next()
        return job.future

    def close(self) -> None:
        self._closed = True

    def _next(self) -> None:
        loop, fate = asyncio.get_running_loop(), self._file.sky.fate()
        loop.call_later(fate.delay, self._begin, fate)

    def _begin(self, fate: Fate) -> None:
        job = self._queue[0]
        if not job.future.set_running_or_notify_cancel():
            self._over()
        elif fate.refused and self._is_refused_at_once():
            self._fail(job, unavailable("the file cannot be used"))
        else:
            self._attempt(job, fate, asyncio.get_running_loop().time() + TIMEOUT)

    def _is_refused_at_once(self) -> bool:
        """Or else at one of its statements."""
        sky = self._file.sky
        return not self._name.endswith(_MUST_RUN) and (sky.weather.refused == 1.0 or sky.random.random() < 0.5)

    def _attempt(self, job: Job, fate: Fate, patience: float) -> None:
        try:
            result = self._run(job, fate)
        except (StoreBusy, Blocked) as error:
            loop = asyncio.get_running_loop()
            if loop.time() < patience:
                loop.call_later(LOOK_SECONDS, self._attempt, job, fate, patience)
            else:
                self._fail(job, error if isinstance(error, StoreBusy) else StoreBusy(f"{error} is locked"))
        except Exception as error:
            self._fail(job, error)
        else:
            self._answer(job, fate, result)

    def _run(self, job: Job, fate: Fate) -> Any:
        if fate.refused:
            self._file.fuse.light()
            fate.refused = False  # it fails once
        try:
            return job.call()
        finally:
            self._file.fuse.put_out()

    def _answer(self, job: Job, fate: Fate, result: object) -> None:
        if fate.cut_after is not None and not self._name.endswith(_MUST_RUN):
            self._fail(job, unavailable("the outcome is not known", maybe_done=True))
        else:
            job.future.set_result(result)
            self._trace(job, "done")
            self._over()

    def _fail(self, job: Job, error: Exception) -> None:
        job.future.set_exception(error)
        self._trace(job, type(error).__name__)
        self._over()

    def _trace(self, job: Job, how: str) -> None:
        process = PROCESS.get()
        self._file.trace("operator" if process is None else process.name, job.name, how)

    def _over(self) -> None:
        self._queue.popleft()
        if self._queue:
            self._next()
