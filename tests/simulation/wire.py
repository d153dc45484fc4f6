"""How a request gets from a process to the server and back. `DirectWire` has no distance; `network` has faults."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")


class Pause(Enum):
    """Where a request stands between two of its steps."""

    ROUND_TRIP = "round trip"  # the server waits for its client: without it, the transaction is rolled back
    WORK = "work"  # the server goes on by itself
    BLOCKED = "blocked"  # a lock is in the way


def at_once(work: Callable[..., T], *arguments: Any) -> Generator[Pause, None, T]:
    """A request that the server carries out in one step."""
    yield from ()
    return work(*arguments)


class Wire(Protocol):
    """A request is a generator of its pauses: nothing else happens on the server between two of them."""

    @property
    def client(self) -> object:
        """Whose sessions these are: the server rolls back what it had open when it is gone."""
        ...

    async def call(self, name: str, steps: Generator[Pause, None, T]) -> T: ...

    def call_sync(self, name: str, steps: Generator[Pause, None, T]) -> T:
        """From a thread that waits, in which no virtual time passes."""
        ...

    def hint(self, wake: Any) -> None:
        """Tell somebody something that may be lost."""
        ...

    def opened(self) -> object:
        """A session of its own; `is_cut` tells whether it still stands."""
        ...

    def is_cut(self, session: object) -> bool: ...


def run_through(steps: Generator[Pause, None, T], wait: Callable[[Pause], None]) -> T:
    """Take the steps of a request one after the other; *wait* is called at each pause, and may raise."""
    with closing(steps):
        while True:
            try:
                pause = next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            wait(pause)


class DirectWire:
    """For the contract's tests: no faults, and time passes only while a lock is in the way."""

    @property
    def client(self) -> object:
        return self

    async def call(self, name: str, steps: Generator[Pause, None, T]) -> T:
        while True:
            try:
                pause = next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            await asyncio.sleep(0.001 if pause is Pause.BLOCKED else 0)

    def call_sync(self, name: str, steps: Generator[Pause, None, T]) -> T:
        return run_through(steps, lambda pause: time.sleep(0.001 if pause is Pause.BLOCKED else 0))

    def hint(self, wake: Any) -> None:
        wake()

    def opened(self) -> object:
        return self

    def is_cut(self, session: object) -> bool:
        return False
