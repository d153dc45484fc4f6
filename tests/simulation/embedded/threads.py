"""The SQLite store's threads without threads: a job is one step of the simulated loop, in the process that asked."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreBusy, StoreUnavailable
from holdfast.stores.sqlite.threads import OneThread, Turn
from tests.simulation.network import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.weather import Fate, Sky

TIMEOUT = 2.0
"""Virtual seconds for which a job tries to get a lock."""
_AGAIN = 0.01
_MUST_RUN = ("begin", "commit")
"""Whoever holds locks gives them back: the engine's threads do not fail by themselves."""


class WouldBlockError(Exception):
    """A lock of this process is taken. No `StoreBusy`, upon which the queue of handlers' transactions asks on."""


class VirtualTurn(Turn):
    """Never waits: there is one real thread, and who would give the lock back could not run."""

    def take(self, timeout: float) -> None:
        del timeout
        if not self._lock.acquire(blocking=False):
            raise WouldBlockError(self._where)


class VirtualThread(OneThread):
    """One job after the other, each when the weather lets it. Those of a killed process never run."""

    def __init__(self, name: str, sky: Sky) -> None:
        super().__init__(name)
        self._sky = sky
        self._queue: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self.is_started = True
        future: Future[Any] = Future()
        self._queue.append((future, partial(call, *args, **kwargs)))
        if len(self._queue) == 1:
            self._next()
        return future

    def close(self) -> None:
        self._closed = True

    def _next(self) -> None:
        loop, fate = asyncio.get_running_loop(), self._sky.fate()
        loop.call_later(fate.delay, self._begin, fate)

    def _begin(self, fate: Fate) -> None:
        future, call = self._queue[0]
        if not future.set_running_or_notify_cancel():
            self._over()
        elif fate.refused and not self._name.endswith(_MUST_RUN):
            future.set_exception(unavailable("the file cannot be used"))
            self._over()
        else:
            self._attempt(future, call, fate, asyncio.get_running_loop().time() + TIMEOUT)

    def _attempt(self, future: Future[Any], call: Callable[[], Any], fate: Fate, patience: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            result = call()
        except (StoreBusy, WouldBlockError) as error:
            if loop.time() < patience:
                loop.call_later(_AGAIN, self._attempt, future, call, fate, patience)
                return
            future.set_exception(error if isinstance(error, StoreBusy) else StoreBusy(f"{error} is locked"))
        except BaseException as error:
            future.set_exception(error)
        else:
            self._answer(future, fate, result)
        self._over()

    def _answer(self, future: Future[Any], fate: Fate, result: object) -> None:
        if fate.cut_after is not None and not self._name.endswith(_MUST_RUN):
            future.set_exception(unavailable("the outcome is not known", maybe_done=True))
        else:
            future.set_result(result)

    def _over(self) -> None:
        self._queue.popleft()
        if self._queue:
            self._next()
