"""A broker, or the store, that is away: how long until the next try, and what is said of it meanwhile."""

from __future__ import annotations

import asyncio
import logging

from holdfast.errors import BrokerRefused

logger = logging.getLogger("holdfast.relay")

_FIRST_PAUSE, _LONGEST_PAUSE, _REFUSED_PAUSE = 0.1, 2.0, 5.0
_AGAIN_SECONDS = 30.0


class Away:
    """
    Args:
        what: What waits, such as ``relay 'shop'``.
        who: For whom.
    """

    def __init__(self, what: str, who: str = "broker") -> None:
        self._what, self._who = what, who
        self._pause = _FIRST_PAUSE
        self._said_at: float | None = None
        self._said: type[Exception] | None = None

    @property
    def is_on(self) -> bool:
        return self._said_at is not None

    def met(self, error: Exception) -> float:
        """
        It was in the way once more. Returns for how many seconds to wait; says so at first, when it is in the way in
        another manner, and every 30 seconds.
        """
        now = asyncio.get_running_loop().time()
        if self._said_at is None or now - self._said_at >= _AGAIN_SECONDS or type(error) is not self._said:
            self._said_at, self._said = now, type(error)
            level = logging.ERROR if isinstance(error, BrokerRefused) else logging.WARNING
            logger.log(level, "%s waits: %s", self._what, error)
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        return _REFUSED_PAUSE if isinstance(error, BrokerRefused) else pause

    def over(self) -> None:
        """It has answered."""
        self._pause = _FIRST_PAUSE
        if self._said_at is not None:
            self._said_at = None
            logger.warning("%s goes on: the %s is back", self._what, self._who)
