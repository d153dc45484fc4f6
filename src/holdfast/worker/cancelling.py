"""Ending tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CANCEL_SECONDS = 0.1


async def cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """
    Cancel the tasks and wait until they have ended.

    One that is being cancelled already, as by the end of ``asyncio.run``, is not cancelled again: that would
    interrupt how it tidies up. But a timeout of its own, which cancels too, may be all that is under way: so look
    again until it has ended.
    """
    left = list(dict.fromkeys(tasks))  # in this order, and not in that of their addresses: so a run can be repeated
    while left:
        for task in left:
            if not task.cancelling():
                task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_SECONDS)
        left = [task for task in left if not task.done()]
