"""A commit that has begun is waited for, whatever becomes of who waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

_PATIENCE = 10.0


async def to_its_end(work: Awaitable[T]) -> T:
    """
    Await *work*, also when cancelled meanwhile: given up in the middle, nobody would know whether it has happened.

    A cancel that comes too late is swallowed: the caller sees that the work is done.

    Raises:
        CancelledError: Cancelled, and *work* has not ended 10 seconds later.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_PATIENCE)
        if not task.done():
            task.cancel()
            raise
        return task.result()
