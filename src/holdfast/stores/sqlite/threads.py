"""Threads of the SQLite store: its only use of them. SQLite's calls block, so they run beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from holdfast.errors import StoreBusy, StoreUnavailable
from holdfast.stores.sqlite.errors import is_broken, translated
from holdfast.stores.sqlite.session import is_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.stores.sqlite.session import Session

__all__ = ["Future", "OneThread", "SessionThread", "Stop", "Turn"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Turn:
    """Whose turn it is to write, among the threads of this process.

    SQLite's own lock is waited for by sleeping and trying again, and knows no queue; this one wakes the next at once.
    """

    def __init__(self, where: str) -> None:
        self._lock, self._where = Lock(), where

    def take(self, timeout: float) -> None:
        """
        Wait for the turn, at most *timeout* seconds; negative: for ever.

        Raises:
            StoreBusy: A transactional handler, or another writer of this process, keeps it longer.
        """
        if not self._lock.acquire(timeout=timeout):
            raise StoreBusy(f"{self._where} is locked by another transaction of this process for {timeout:g} s")

    def give(self) -> None:
        """End the turn; from any thread."""
        self._lock.release()

    @contextmanager
    def taken(self, timeout: float) -> Iterator[None]:
        self.take(timeout)
        try:
            yield
        finally:
            self.give()


class Stop(Event):
    """Tells a thread that waits on it to end."""


class OneThread:
    """A thread that runs one call after the other, started when it is first needed.

    The standard library's executor is not used: a store that is garbage closes its connections by a job of theirs,
    and its ``submit`` takes a lock that the same thread may hold when the collector runs. A `SimpleQueue` may be put
    into from there.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._starting = Lock()
        self.is_started = False
        self._closed = False

    def submit(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """
        Raises:
            StoreUnavailable: `close` was called.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if not self.is_started:
            self._start()
        future: Future[_T] = Future()
        self._jobs.put((future, partial(call, *args, **kwargs)))
        return future

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run *call* in the thread. Cancelled before it began, it does not run; later it runs to its end."""
        return await asyncio.wrap_future(self.submit(call, *args, **kwargs))

    def close(self) -> None:
        """Let what is queued run, then end the thread; does not wait for it."""
        self._closed = True
        self._jobs.put(None)

    def _start(self) -> None:
        with self._starting:
            if not self.is_started:
                Thread(target=self._serve, name=self._name, daemon=True).start()
                self.is_started = True

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del job, future, call
        while not self._jobs.empty():
            if late := self._jobs.get():
                late[0].set_exception(StoreUnavailable("the store is closed"))


class SessionThread:
    """A session with a thread of its own, connected when it is first needed and again after it broke.

    Args:
        name: For the thread.
        connect: Makes the session.
        where: The store, for messages.
        turn: Taken for each job, for sessions that write or that are shared.
        timeout: Seconds to wait for the turn.
        lasting: The connection is the store (in memory): it is never replaced.
        thread: Makes the thread of that name.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Session],
        *,
        where: str,
        turn: Turn | None,
        timeout: float,
        lasting: bool = False,
        thread: Callable[[str], OneThread] = OneThread,
    ) -> None:
        self._thread, self._connect, self._where = thread(name), connect, where
        self._turn, self._timeout, self._lasting = turn, timeout, lasting
        self._session: Session | None = None

    async def run(self, job: Callable[Concatenate[Session, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a job on the session: one hop to the thread and back, whatever the job does there."""
        return await self._thread.run(self._work, job, args, kwargs)

    def _work(self, job: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
        turn = self._turn.taken(self._timeout) if self._turn else nullcontext()
        with turn, translated(self._where), self.in_use() as session:
            return job(session, *args, **kwargs)

    @contextmanager
    def in_use(self) -> Iterator[Session]:
        """The session, connected; dropped if it breaks meanwhile. Only for whoever has the turn."""
        session = self._session = self._session or self._connect()
        try:
            yield session
        except BaseException as error:
            # A ROLLBACK can fail too: what is still open then would keep the write lock.
            if not self._lasting and (is_broken(error) or is_open(session.connection)):
                self._drop()
            raise

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def close(self) -> None:
        """Close the connection, in its thread, and end the thread. Twice is once."""
        if not self._thread.is_started:  # nor can it be where the interpreter is about to end, since Python 3.12
            self._thread.close()
            self._drop()  # somebody else, who had the turn, may have connected it
            return
        try:
            await self._thread.run(self._drop)
        except StoreUnavailable:
            return
        self._thread.close()

    def abandon(self) -> None:
        """Close without waiting, where no loop can wait any more; the garbage collector may be the caller."""
        if self._thread.is_started:
            with suppress(StoreUnavailable):
                self._thread.submit(self._drop)
            self._thread.close()
