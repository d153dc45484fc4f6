"""What a part of the worker says while it waits for the store: at the start, now and then, and at the end."""

from __future__ import annotations

import asyncio
import logging

from holdfast.counts import WorkerCounts

logger = logging.getLogger("holdfast.worker")

_AGAIN_SECONDS = 30.0


class Outage:
    """Keeps a part that tries several times a second from saying so each time.

    Args:
        waits: What is not done meanwhile.
        goes_on: What is done again after it.
        counts: Where each time is counted.
    """

    def __init__(self, waits: str, goes_on: str, counts: WorkerCounts | None = None) -> None:
        self._waits, self._goes_on = waits, goes_on
        self._counts = WorkerCounts() if counts is None else counts
        self._said_at: float | None = None

    @property
    def is_on(self) -> bool:
        return self._said_at is not None

    def met(self, error: Exception) -> None:
        """The store could not be reached, once more."""
        self._counts.store_errors += 1
        now = asyncio.get_running_loop().time()
        if self._said_at is None or now - self._said_at >= _AGAIN_SECONDS:
            self._said_at = now
            logger.warning("%s: %s", self._waits, error)

    def over(self) -> None:
        """The store has answered."""
        if self._said_at is not None:
            self._said_at = None
            logger.warning("the store is back: %s", self._goes_on)
