"""Publishing: concurrent calls in one transaction, in the order of the calls; into the spool while the store is away."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from holdfast.counts import PublisherCounts
from holdfast.errors import (
    HoldfastError,
    IdConflict,
    InvalidEvent,
    OutcomeUnknown,
    SpoolPending,
    StoreError,
    StoreUnavailable,
)
from holdfast.event import Published
from holdfast.stores.values import Appended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from typing import Any

    from holdfast.event import NewEvent
    from holdfast.spool import AnySpool
    from holdfast.spool_format import SpoolRecord
    from holdfast.stores.base import Store

logger = logging.getLogger("holdfast.publish")

_GROUP, _GROUP_BYTES = 500, 4 * 2**20
_WORTH_HALVING = 64  # a commit for fewer calls costs more than is won by it
_SPOOL_PAGE = 200
_LAST_PAGE = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_HINT_PAUSE = 0.005  # between two hints to other processes, seconds


@dataclass(slots=True, eq=False)
class Request:
    """Events of one call, and who waits for them."""

    events: Sequence[NewEvent]
    answer: asyncio.Future[list[Published]]
    atomic: bool


class Ready(Protocol):
    """Makes sure that the store is open and what is declared is registered."""

    async def __call__(self) -> None: ...


class Publisher:
    """Stores events for one process, one transaction at a time.

    Calls that come while a transaction is under way go into the next one together. While the store cannot be
    reached, and until the spool has drained, events go to the spool, so that the order of calls is kept.

    Args:
        store: Where events go.
        prepare: Awaited before the first use of the store, and again after it was away.
        spool: Takes events while the store is away; None: publishing raises then.
        in_thread: Runs the spool's blocking calls.
        timeout: Seconds for which the store may be away before the spool is used.
        stored: Called after events were stored.
        now: The time that a spooled event gets, as it occurred before the store's clock can say so.
    """

    def __init__(
        self, store: Store, prepare: Ready, spool: AnySpool | None, *,
        in_thread: Callable[..., Awaitable[Any]], timeout: float, stored: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._store, self._prepare, self._spool, self._timeout = store, prepare, spool, timeout
        self._in_thread, self._stored, self._now = in_thread, stored, now
        self._requests: deque[Request] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._drainer: asyncio.Task[None] | None = None
        self._spooling = False
        self._nearly = True  # nothing says that the store is away: the last records are worth waiting for
        self._drained = asyncio.Event()
        self._drained.set()
        self._notifier: asyncio.Task[None] | None = None
        self._untold = False  # something was stored since the last hint to other processes
        self.counts = PublisherCounts()

    @property
    def spool_depth(self) -> int:
        """Events that are in the spool and not in the store yet."""
        return 0 if self._spool is None else self._spool.depth

    @property
    def is_spooling(self) -> bool:
        """Whether events go to the spool, as the store was away and has not got all of it yet."""
        return self._spooling

    async def open(self) -> None:
        """Take over what an earlier process has left in the spool."""
        if self._spool is not None:
            await self._in_thread(self._spool.open)
            if self._spool.depth:
                logger.warning("the spool holds %d events of an earlier process; draining", self._spool.depth)
                self._start_spooling()

    async def publish(self, events: Sequence[NewEvent], *, atomic: bool = False) -> list[Published]:
        """
        Store *events*, or spool them; returns when they are durable.

        Cancelled while it waits for its turn, it is withdrawn; later the events may be stored.
        """
        request = Request(events, asyncio.get_running_loop().create_future(), atomic)
        self._requests.append(request)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush_all())
        return await request.answer

    async def settle_spool(self, keys: Sequence[tuple[str, str | None]]) -> None:
        """
        Before a ``tx=`` publish: wait until nothing of these keys is in the spool.

        Raises:
            SpoolPending: It still is, after the time that the store is given.
        """
        spool = self._spool
        if spool is None or not self._is_pending(spool, keys):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._drained.wait()
        if self._is_pending(spool, keys):
            raise SpoolPending(
                f"an earlier event of the same key is still in the spool ({spool.depth} wait there): "
                f"try again when the store has been back for a moment"
            )

    def _is_pending(self, spool: AnySpool, keys: Sequence[tuple[str, str | None]]) -> bool:
        return any(key is not None and spool.pending(tenant_id, key) for tenant_id, key in keys)

    async def wait_drained(self) -> None:
        """Wait until the spool is empty."""
        await self._drained.wait()

    def go_without_spool(self) -> None:
        """From here on publishing fails while the store is away."""
        self._spool = None

    async def close(self) -> None:
        """
        Let calls under way end, and the spool drain for as long as the store takes it, at most the store's time: a
        program that runs for a moment only would add to it for ever. What is left stays for the next process.
        """
        if self._flusher is not None:
            await asyncio.wait([self._flusher])  # which a cancelled close leaves to its end: its callers wait for it
        for task in (self._drainer, self._notifier):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._spool is not None:
            if self._spool.depth:
                with suppress(HoldfastError, TimeoutError):
                    async with asyncio.timeout(self._timeout):
                        await self._drain_pages(self._spool)
            await self._in_thread(self._spool.close)

    # Storing

    async def _flush_all(self) -> None:
        # Many who wait at the start were answered together, and would for ever be: all of them make their next events
        # while the store waits, then wait while it works. Half of them go first, and from then on they take turns.
        most = max(_WORTH_HALVING, len(self._requests) // 2) if self._store.is_remote else _GROUP
        while self._requests:
            batch = self._next_batch(min(_GROUP, most))
            if batch:
                await self._flush(batch)
            most = _GROUP

    def _next_batch(self, most: int) -> list[Request]:
        """Requests that go together: one that must be stored whole goes alone; cancelled ones are withdrawn."""
        batch: list[Request] = []
        size = length = 0
        while self._requests and size < most and length < _GROUP_BYTES:
            request = self._requests[0]
            if request.answer.done():
                self._requests.popleft()
                continue
            if request.atomic and batch:
                break
            self._requests.popleft()
            batch.append(request)
            size += len(request.events)
            length += sum(len(event.payload) for event in request.events)
            if request.atomic:
                break
        return batch

    async def _flush(self, batch: list[Request]) -> None:
        try:
            if self._spooling and not await self._spool_is_done():
                await self._to_spool(batch)
            else:
                await self._to_store(batch)
        except asyncio.CancelledError:
            for request in batch:
                request.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whoever published must hear of it
            answer_all(batch, error)

    async def _to_store(self, batch: list[Request]) -> None:
        events = [event for request in batch for event in request.events]
        try:
            results, repeated = await self._append_within_time(events, atomic=batch[0].atomic)
        except StoreUnavailable as error:
            await self._go_to_spool(batch, error)
            return
        except (StoreError, InvalidEvent):
            if len(batch) == 1:
                raise
            for request in batch:  # one of them is bad: it must not harm its neighbours
                await self._flush([request])
            return
        self._answer(batch, results, repeated=repeated)
        self._tell()

    async def _append_within_time(self, events: Sequence[NewEvent], *, atomic: bool) -> tuple[list[Appended], bool]:
        """Append; ask again with the same ids while the store is away, until its time is over.

        The second value tells that an earlier try may have stored them: what is found there then is our own.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._timeout, _FIRST_PAUSE
        maybe_done = False
        while True:
            sent = False
            try:
                await self._prepare()
                sent = True
                return await self._store.append(events, atomic=atomic), maybe_done
            except StoreUnavailable as error:
                self.counts.store_errors += 1
                maybe_done |= sent and error.maybe_done
                if maybe_done:
                    events = known_before(events)
                if loop.time() + pause >= deadline:
                    error.maybe_done = maybe_done
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    def _answer(self, batch: list[Request], results: list[Appended], *, repeated: bool) -> None:
        self._count(results, nothing_stored=batch[0].atomic and Appended.CONFLICT in results)
        place = 0
        for request in batch:
            own = results[place : place + len(request.events)]
            place += len(request.events)
            if request.answer.done():
                continue
            if Appended.CONFLICT in own:
                index = own.index(Appended.CONFLICT)
                conflict = IdConflict(request.events[index].id, index if request.atomic else None)
                request.answer.set_exception(conflict)
                continue
            request.answer.set_result(
                [
                    Published(event.id, "store", result is Appended.DUPLICATE and not repeated)
                    for event, result in zip(request.events, own, strict=True)
                ]
            )

    def _count(self, results: Sequence[Appended], *, nothing_stored: bool) -> None:
        if not nothing_stored:
            self.counts.batches.add(len(results))
            self.counts.stored += results.count(Appended.STORED)
            self.counts.duplicates += results.count(Appended.DUPLICATE)

    def _tell(self) -> None:
        self._stored()
        self._untold = True
        if self._notifier is None or self._notifier.done():
            self._notifier = asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        while self._untold:
            self._untold = False
            with suppress(HoldfastError):  # a hint: workers poll as well
                await self._store.notify()
            # A worker that has just been woken looks again by itself within that time.
            await asyncio.sleep(_HINT_PAUSE)

    # Spooling

    async def _go_to_spool(self, batch: list[Request], error: StoreUnavailable) -> None:
        if self._spool is None:
            if error.maybe_done:
                raise OutcomeUnknown(tuple(event.id for request in batch for event in request.events)) from error
            raise error
        logger.warning("the store is away, publishing into the spool: %s", error)
        self._nearly = False
        self._start_spooling()
        await self._to_spool(batch, maybe_done=error.maybe_done)

    async def _to_spool(self, batch: list[Request], *, maybe_done: bool = False) -> None:
        spool = self._spool
        assert spool is not None
        now = self._now()
        for request in batch:
            events = [
                event if event.occurred_at else event._replace(occurred_at=now)
                for event in known_before(request.events)
            ]
            try:
                await self._in_thread(spool.append, events)
            except HoldfastError as error:
                unknown = OutcomeUnknown(tuple(event.id for event in events))
                unknown.__cause__ = error
                answer_all([request], unknown if maybe_done else error)
            else:
                self.counts.spooled += len(events)
                self._start_spooling()  # the drainer may have ended while this was being written
                if not request.answer.done():
                    request.answer.set_result([Published(event.id, spool.where) for event in events])

    def _start_spooling(self) -> None:
        self._spooling = True
        self._drained.clear()
        if self._drainer is None or self._drainer.done():
            self._drainer = asyncio.get_running_loop().create_task(self._drain())

    async def _spool_is_done(self) -> bool:
        """Whether publishing may go to the store again; waits for the last records, which are few."""
        assert self._spool is not None
        if self._spool.depth <= _LAST_PAGE and self._nearly:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await self._drained.wait()
        return not self._spooling

    async def _drain(self) -> None:
        """Bring the spool's events into the store, oldest first, until none is left."""
        pause = _FIRST_PAUSE
        assert self._spool is not None
        while True:
            try:
                await self._drain_pages(self._spool)
            except StoreUnavailable:
                self.counts.store_errors += 1
                self._nearly = False
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except HoldfastError:
                logger.exception("the spool cannot be drained now, and is tried again")
                await asyncio.sleep(_LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            # No publish can be let into the spool between this look and the next line.
            if self._spool.depth == 0:
                self._spooling = False
                self._drained.set()
                logger.warning("the spool has drained; publishing into the store again")
                return

    async def _drain_pages(self, spool: AnySpool) -> None:
        await self._prepare()
        while records := await self._in_thread(spool.peek, _SPOOL_PAGE):
            await self._store_records(spool, records)
            self._nearly = True
            self._stored()
            await self._store.notify()

    async def _store_records(self, spool: AnySpool, records: Sequence[SpoolRecord]) -> None:
        try:
            results = await self._store.append([record.event for record in records], atomic=False)
        except InvalidEvent as error:  # nothing else is the event's fault: the rest waits, loudly
            if len(records) > 1:
                for record in records:
                    await self._store_records(spool, [record])
                return
            await self._in_thread(spool.quarantine, records[0], str(error))
            return
        if Appended.CONFLICT not in results:
            await self._in_thread(spool.remove, records)
            return
        for record, result in zip(records, results, strict=True):
            if result is Appended.CONFLICT:
                reason = f"an event with the id {record.event.id} and other content is stored already"
                await self._in_thread(spool.quarantine, record, reason)
            else:
                await self._in_thread(spool.remove, [record])


def known_before(events: Sequence[NewEvent]) -> list[NewEvent]:
    """These, now that a store may have them, or will be asked for them again."""
    return [event._replace(is_new=False) if event.is_new else event for event in events]


def answer_all(batch: Sequence[Request], error: BaseException) -> None:
    """Tell everybody who waits for *batch* that it failed."""
    for request in batch:
        if not request.answer.done():
            request.answer.set_exception(error)


def published_within(events: Sequence[NewEvent], results: Sequence[Appended]) -> list[Published]:
    """What a ``tx=`` publish returns.

    Raises:
        IdConflict: The caller should roll back: the others of the list are in the transaction.
    """
    for index, (event, result) in enumerate(zip(events, results, strict=True)):
        if result is Appended.CONFLICT:
            raise IdConflict(event.id, index if len(events) > 1 else None)
    return [
        Published(event.id, "store", result is Appended.DUPLICATE)
        for event, result in zip(events, results, strict=True)
    ]
