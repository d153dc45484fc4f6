"""Waiting until what is stored so far, and what it causes, is settled: `EventBus.drain`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from holdfast.errors import BusStateError, DrainTimeout, HoldfastError, StoreUnavailable
from holdfast.worker.timekeeper import DUE_AT_ONCE

if TYPE_CHECKING:
    from holdfast.live import Live
    from holdfast.stores.values import Subscription

logger = logging.getLogger("holdfast")

_POLL_MIN, _POLL_MAX = 0.002, 0.1
_COUNT_SECONDS, _LOOK_SECONDS = 2.0, 0.3


async def drain(live: Live, timeout: float | None) -> None:
    """
    Wait, and start a worker if none runs; what is due by now counts as stored.

    Raises:
        DrainTimeout: With the number of unsettled events by subscription.
        BusStateError: The worker has stopped.
    """
    await live.open_publisher()
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await _drain(live)
                except StoreUnavailable as error:
                    logger.info("drain waits for the store: %s", error)
                    await asyncio.sleep(_POLL_MAX)
                else:
                    return
    except TimeoutError as error:
        raise DrainTimeout(timeout or 0.0, await _count_unsettled(live)) from error


async def _drain(live: Live) -> None:
    await live.publisher.wait_drained()
    await live.prepare()
    while (left := await live.store.next_scheduled()) is not None and left <= 0:
        if not await live.store.publish_due(DUE_AT_ONCE):  # a worker elsewhere has it in hand
            await asyncio.sleep(_POLL_MAX)
    await live.start()
    reader = await live.store.reader()
    try:
        while True:
            horizon = await reader.horizon()
            await _wait_settled(live, horizon)
            if not await live.store.caused_since(horizon):
                return
    finally:
        await reader.close()


async def _wait_settled(live: Live, horizon: str) -> None:
    pause, looked = _POLL_MIN, live.loop.time()
    while True:
        worker = live.worker
        if worker is not None and worker.stop_requested.is_set():
            raise BusStateError(f"the worker has stopped, nothing more is handled here: {worker.cause!r}")
        # While others publish without end the worker is never quiet: look all the same, now and then.
        if worker is None or worker.is_quiet or live.loop.time() - looked > _LOOK_SECONDS:
            looked = live.loop.time()
            if worker is not None:
                await worker.flush()
            watched = [one.id for one in await live.store.subscriptions() if _is_watched(live, one)]
            if not any((await live.store.unsettled(watched, horizon)).values()):
                return
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _POLL_MAX)


def _is_watched(live: Live, record: Subscription) -> bool:
    return record.name in live.registered and not record.paused


async def _count_unsettled(live: Live) -> dict[str, int]:
    """Unsettled events by name of subscription, as far as the store tells within a moment."""
    names = {record.id: name for name, (_, record) in live.registered.items()}
    try:
        async with asyncio.timeout(_COUNT_SECONDS):
            if live.worker is not None:
                await live.worker.flush()
            reader = await live.store.reader()
            try:
                found = await live.store.unsettled(list(names), await reader.horizon())
            finally:
                await reader.close()
    except (HoldfastError, TimeoutError):
        return {}
    return {names[known]: count for known, count in found.items() if count}
