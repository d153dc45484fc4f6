"""An event loop on which computing takes no time, so that no count depends on how fast the machine is."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import Counter
from typing import Any


class _Stopwatch(selectors.DefaultSelector):
    """Counts the seconds spent waiting for something."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        begun = time.monotonic()
        try:
            return super().select(timeout)
        finally:
            self.waited += time.monotonic() - begun


class StillLoop(asyncio.SelectorEventLoop):
    """
    A loop whose clock goes on only while it waits, and which counts what it is asked to do.

    Timers run out while the database or nobody works, never because Python was slow: on any machine as many receipts
    gather before the settler's few milliseconds are over.

    Attributes:
        asked: How many tasks, timers and callbacks were made.
    """

    def __init__(self) -> None:
        self._stopwatch = _Stopwatch()
        super().__init__(self._stopwatch)
        self.asked: Counter[str] = Counter()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._stopwatch.waited

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        self.asked["tasks"] += 1
        return asyncio.Task(coroutine, loop=loop, **options)

    def call_soon(self, *arguments: Any, **options: Any) -> asyncio.Handle:
        self.asked["callbacks"] += 1
        return super().call_soon(*arguments, **options)

    def call_at(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        self.asked["timers"] += 1
        return super().call_at(*arguments, **options)


def run(work: Any) -> Any:
    """Run *work* to its end on a `StillLoop` of its own."""
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        return runner.run(work)
