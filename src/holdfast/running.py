"""Working until a signal comes: one bus, or several in one process."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from holdfast.bus import EventBus
    from holdfast.live import Live

logger = logging.getLogger("holdfast")

_ABORTED = 130
# Sent to a process and to its group, as some wrappers do, one signal comes twice.
_ONE_SIGNAL_SECONDS = 0.1


async def run_buses(buses: Sequence[EventBus]) -> None:
    """
    Work for several buses in one process until SIGTERM or SIGINT; see `EventBus.run`.

    Cancelled, it stops as gracefully.

    Raises:
        SystemExit, KeyboardInterrupt: A handler raised it. SystemExit(130): a second signal aborted.
    """
    stop, abort = asyncio.Event(), asyncio.Event()
    lives: list[Live] = []
    clock, first_at = asyncio.get_running_loop().time, 0.0

    def signalled() -> None:
        nonlocal first_at
        if not stop.is_set():
            stop.set()
            first_at = clock()
        elif clock() - first_at > _ONE_SIGNAL_SECONDS:
            abort.set()
        for live in lives:
            if live.worker is not None:
                live.worker.halt()  # at once: what is handed out now would only be waited for

    with _signals(signalled):
        lives += [await bus.open() for bus in buses]
        try:
            for live in lives:
                await live.start()
            for bus, live in zip(buses, lives, strict=True):
                names = ", ".join(consumer.name for consumer in bus.consumers)
                logger.info("working on %s for %s", live.store.address, names or "no subscription: none is declared")
            await _first([stop.wait(), *(_worker_stopped(live) for live in lives)])
        finally:
            stop.set()
            cause = await _end(buses, lives, abort)
        if cause is not None:
            raise cause


@contextmanager
def until_signalled() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets, for loops that then end by themselves."""
    stop = asyncio.Event()
    with _signals(stop.set):
        yield stop


@contextmanager
def _signals(signalled: Callable[[], object]) -> Iterator[None]:
    loop, handled = asyncio.get_running_loop(), []
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread: nobody signals us
            loop.add_signal_handler(number, signalled)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


async def _end(buses: Sequence[EventBus], lives: Sequence[Live], abort: asyncio.Event) -> BaseException | None:
    """Stop gracefully, or at once when *abort* is set; returns what a handler ended the process with."""
    logger.info("stopping: running handlers are given time to finish")
    closing = asyncio.ensure_future(_close_all(buses))
    await _first([closing, abort.wait()])
    if closing.done():
        return closing.result()
    logger.warning("aborted by a second signal: what ran will run again")
    closing.cancel()
    for live in lives:
        if live.worker_ending is not None:
            await live.worker_ending.abort()
    await asyncio.gather(closing, return_exceptions=True)
    raise SystemExit(_ABORTED)


async def _close_all(buses: Sequence[EventBus]) -> BaseException | None:
    causes = await asyncio.gather(*(bus.close() for bus in buses))
    return next((cause for cause in causes if cause is not None), None)


async def _worker_stopped(live: Live) -> None:
    """Return when the live bus's worker asks to stop."""
    while live.worker is None:  # noqa: ASYNC110 - only while the store is away at the start
        await asyncio.sleep(0.1)
    await live.worker.stop_requested.wait()


async def _first(waits: Sequence[Awaitable[Any]]) -> None:
    """Wait until one of these is done; cancel those that were made here."""
    tasks = {asyncio.ensure_future(wait): isinstance(wait, asyncio.Future) for wait in waits}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        own = [task for task, is_callers in tasks.items() if not is_callers]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)
