"""Counting statements, and telling the one at which something is to break."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event, Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = TypeVar("Kind")

_PATIENCE = 10.0


class Countdown(Generic[Kind]):
    """Which statement breaks, and how. `begins` is called where statements are seen, all else by the test."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_counting = False
        self._number, self._at, self._lasting = 0, 0, False
        self._kind: Kind | None = None
        self._watch: Callable[[], None] | None = None
        self._victim: tuple[asyncio.AbstractEventLoop, asyncio.Task[object]] | None = None
        self.met = 0

    def watch(self, before: Callable[[], None] | None = None) -> None:
        """Count and break nothing; *before* is called before each statement."""
        self._start(0, None, lasting=False)
        self._watch = before

    def break_at(self, number: int, kind: Kind, *, lasting: bool = False) -> None:
        """From now on, break the statement of that number, from 1; *lasting*: and all that come after it."""
        self._start(number, kind, lasting=lasting)

    def aim(self, task: asyncio.Task[object]) -> None:
        """Who is cancelled where that is what breaks. Call it from the loop of the task."""
        self._victim = asyncio.get_running_loop(), task

    def heal(self) -> int:
        """Break nothing any more; returns how many statements were broken, when only watched how many there were."""
        with self._lock:
            self._is_counting, self._watch, self._victim = False, None, None
            return self.met if self._kind is not None else self._number

    def _start(self, number: int, kind: Kind | None, *, lasting: bool) -> None:
        with self._lock:
            self._number, self._at, self._kind, self._lasting, self.met = 0, number, kind, lasting, 0
            self._watch, self._is_counting = None, True

    def begins(self) -> Kind | None:
        """A statement begins; returns what is to happen to it."""
        with self._lock:
            if not self._is_counting:
                return None
            self._number += 1
            if self._watch is not None:
                self._watch()
            if self._kind is None or not (self._number == self._at or (self._lasting and self._number > self._at)):
                return None
            self.met += 1
            return self._kind

    def cancel(self) -> None:
        """Cancel the task that was aimed at; returns when that has been done."""
        if self._victim is None:
            return
        (loop, task), done = self._victim, Event()
        with suppress(RuntimeError):  # no loop runs in this thread
            if asyncio.get_running_loop() is loop:
                task.cancel()
                return

        def strike() -> None:
            task.cancel()
            done.set()

        loop.call_soon_threadsafe(strike)
        assert done.wait(_PATIENCE), "the loop of the task stands still"
