"""Threads without threads: functions run in one step of the loop, and their results come when the seed says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from holdfast.ports import Call, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


LOOK_SECONDS = 0.01


class Blocked(BaseException):
    """What runs here would have to wait for a lock. It has done nothing yet, and is called again in a moment."""


def _nothing() -> None:
    pass


class SimulatedThreads:
    """See `holdfast.ports.Threads`."""

    def __init__(self, random: Random) -> None:
        self._random = random.random
        self._takes, self._then = 0.0, _nothing

    def run(self, function: Callable[[], Any]) -> Call:
        call = Call(function)
        asyncio.get_running_loop().call_later(0.001 * self._random(), self._execute, call)
        return call

    def take(self, seconds: float, then: Callable[[], None]) -> None:
        """Called by a function that runs here: it shall seem to run so much longer, and *then* has returned."""
        self._takes, self._then = seconds, then

    def _execute(self, call: Call) -> None:
        self._takes, self._then = 0.0, _nothing
        try:
            outcome = Outcome(call.function())
        except Blocked:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._execute, call)
            return
        except BaseException as raised:  # it is the caller's to judge
            outcome = Outcome(None, raised)
        asyncio.get_running_loop().call_later(self._takes, _return, call, outcome, self._then)

    def allow(self, limit: int) -> None:
        """Whoever calls hands out no more."""

    def close(self) -> None:
        """Nothing is left to end."""


def _return(call: Call, outcome: Outcome, then: Callable[[], None]) -> None:
    then()
    call.return_(outcome)
