"""The ready-made buses: made from the environment, started by their first use."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from holdfast.bus import EventBus
from holdfast.errors import BusStateError
from holdfast.sync import SyncEventBus

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from holdfast.event import Published

logger = logging.getLogger("holdfast")


def _worker_wanted() -> bool:
    return os.environ.get("HOLDFAST_WORKER", "").strip().lower() != "off"


class StartedBySubscribing:
    """In front of a bus: whoever subscribes starts its worker."""

    def subscribe(self, patterns: Any, handler: Any = None, **options: Any) -> Any:
        declared = super().subscribe(patterns, handler, **options)  # type: ignore[misc]
        if handler is not None:
            self._start_soon()
            return declared

        def declare(function: Any) -> Any:
            result = declared(function)
            self._start_soon()
            return result

        return declare

    def _start_soon(self) -> None:
        raise NotImplementedError


class GlobalBus(StartedBySubscribing, EventBus):
    """
    `holdfast.global_bus`: an `EventBus` that works by itself, for code written for an in-memory global bus.

    Options come from the environment: ``HOLDFAST_DSN``, ``HOLDFAST_AUTO_MIGRATE``, ``HOLDFAST_SPOOL``. Its worker
    starts at the first subscribe or publish inside a running loop, unless ``HOLDFAST_WORKER=off``, and resumes what
    is pending. When the loop ends, so does the worker, in good order under ``asyncio.run``.
    """

    _starter: asyncio.Task[None] | None = None

    def publish(self, name: str | Any, payload: Any = None, **options: Any) -> Awaitable[Published]:  # type: ignore[override]
        """See `EventBus.publish`. Called outside a running loop it raises at once, as nothing could await it."""
        self._require_loop()
        self._start_soon()
        return super().publish(name, payload, **options)

    def publish_many(self, items: Any, *, tx: Any = None) -> Awaitable[list[Published]]:  # type: ignore[override]
        """See `EventBus.publish_many`, and `publish` for calls outside a loop."""
        self._require_loop()
        self._start_soon()
        return super().publish_many(items, tx=tx)

    async def drain(self, timeout: float | None = None) -> None:
        """See `EventBus.drain`."""
        self._start_soon()  # whoever starts the worker ends it, and here that is the guardian
        await super().drain(timeout)

    def _require_loop(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise BusStateError(
                "global_bus was used outside a running event loop, where nothing awaits it: "
                "use holdfast.global_sync_bus in synchronous code"
            ) from None

    def _start_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # at import time: the first publish inside a loop starts it
        starter, live = self._starter, self._live
        starts = starter is not None and starter.get_loop() is loop and not starter.done()
        works = live is not None and live.loop is loop and live.is_started
        if _worker_wanted() and not starts and not works:
            self._starter = loop.create_task(self._start())

    async def _start(self) -> None:
        try:
            await (await self.open()).start()
        except Exception:
            logger.exception("the worker of global_bus cannot start; publishing says why")


class GlobalSyncBus(StartedBySubscribing, SyncEventBus):
    """
    `holdfast.global_sync_bus`: a `SyncEventBus` from the environment; its worker starts in a background thread at
    the first subscribe, unless ``HOLDFAST_WORKER=off``.
    """

    _started = False

    def _start_soon(self) -> None:
        if not self._started and _worker_wanted():
            self._started = True
            self._close_at_exit()
            self._background.post(self._start()).add_done_callback(self._report)

    def _report(self, started: Any) -> None:
        if not started.cancelled() and (error := started.exception()) is not None:
            self._started = False
            logger.error("the worker of global_sync_bus cannot start: %s", error)

    def close(self) -> None:
        super().close()
        self._started = False


global_bus = GlobalBus()
global_sync_bus = GlobalSyncBus()
