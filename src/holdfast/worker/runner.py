"""The handler of one subscription: how many run at once, and for how long."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from holdfast.errors import StoreUnavailable
from holdfast.patterns import Matcher
from holdfast.subscription import THREADS_MAX
from holdfast.worker.aftermath import Aftermath
from holdfast.worker.calling import Caller, RaisedByHandler, ThreadStillRuns
from holdfast.worker.decisions import AttemptTimeout
from holdfast.worker.hand import Slot
from holdfast.worker.lanes import Lane, Lanes
from holdfast.worker.timing import Timing
from holdfast.worker.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from holdfast.event import Row
    from holdfast.ports import Threads
    from holdfast.stores.values import Subscription
    from holdfast.subscription import Consumer
    from holdfast.worker.aftermath import Shared
    from holdfast.worker.hand import InHand, Key, Mark, Partition

logger = logging.getLogger("holdfast.worker")

_YIELD_SECONDS = 0.005
_STORE_PAUSE = 0.2


class Runner:
    """
    Runs the handler of one subscription.

    There is no task for each event: up to ``concurrency`` tasks take what is ready until nothing is.

    Args:
        consumer: Declaration and handler.
        record: What the store says of the subscription.
        shared: The worker's common parts.
        threads: For synchronous handlers.
    """

    def __init__(self, consumer: Consumer, record: Subscription, shared: Shared, threads: Threads) -> None:
        self.consumer = consumer
        self._shared, self._threads = shared, threads
        tracing = shared.tracing.of(consumer)
        handler = consumer.called if tracing is None else tracing.handler
        self._caller = Caller(consumer, shared.store, threads, shared.bus, handler)
        self._lanes = self._make_lanes(record.id)
        self._after = Aftermath(consumer, record, shared, self._lanes, self.start)
        self._breaker = self._after.breaker
        self.counts = self._after.counts
        self._timing = Timing(self.counts, shared.ports, tracing)
        self._matcher = Matcher(record.patterns)
        self._slots: dict[Slot, None] = {}  # in the order of their making
        self._newest: Slot | None = None  # that has not begun yet
        self._stopping = False
        self._alarm: asyncio.TimerHandle | None = None  # when somebody may go who waits for a limit
        self.suspects = 0  # that wait for their turn; an open breaker's next probes
        self.in_hand = self._after.in_hand
        self.waiting = Waiting(self._after)
        self._allow()

    def _make_lanes(self, subscription: int) -> Lanes:
        if not self.consumer.limits:
            return Lanes()
        from holdfast.worker.limits import LimitedLanes

        return LimitedLanes(self.consumer.limits, self._shared.ports.elapsed, lambda: self._shared.part(subscription))

    # What comes in

    @property
    def record(self) -> Subscription:
        """What the store says of the subscription."""
        return self._after.record

    @property
    def apart(self) -> frozenset[str]:
        """Tenants that are not read with the others: paused, or aside because they wait for a limit."""
        return self.record.paused_tenants.union(self.waiting.aside)

    @property
    def held_now(self) -> int:
        """Deliveries in hand: waiting, running, or not yet written."""
        return self._after.held_now

    @property
    def has_room(self) -> bool:
        """Whether more may be read for it. An open breaker wants fresh events at hand to probe with."""
        if not self._breaker.is_closed:
            return not self.record.paused and self.held_now == self._after.held_due
        return self._is_below_bounds

    @property
    def has_room_for_due(self) -> bool:
        """Whether delivery rows may be claimed for it. An open breaker probes with them, too."""
        if not self._breaker.is_closed:
            return self._after.held_due == 0 and self.suspects == 0 and self._wants_probe
        return self._is_below_bounds and self.waiting.has_room_for_due

    @property
    def _is_below_bounds(self) -> bool:
        return not self.record.paused and self._after.is_below_bounds

    @property
    def is_held_up(self) -> bool:
        """Whether nothing runs at present, but for a probe: paused, or its breaker is open."""
        return self.record.paused or not self._breaker.is_closed

    @property
    def may_try(self) -> bool:
        """Whether a suspect may run now: alone, as an open breaker's probe if need be."""
        return not self.record.paused and (self._breaker.is_closed or self._wants_probe)

    @property
    def _wants_probe(self) -> bool:
        return self._breaker.wants_probe(self._shared.ports.elapsed())

    @property
    def is_tripped(self) -> bool:
        """Whether its breaker holds it up, but for single probes."""
        return not self._breaker.is_closed

    def key_of(self, tenant_id: str, key: str | None) -> Key | None:
        return None if key is None or self.record.ordering == "none" else (tenant_id, key)

    def matches(self, name: str) -> bool:
        return self._matcher(name)

    def change(self, record: Subscription) -> None:
        """Somebody declared, paused or resumed the subscription."""
        self._after.record = record
        self._matcher = Matcher(record.patterns)
        self._allow()
        self.start()

    def _allow(self) -> None:
        """As many at once as an operator says, else as the program declares."""
        said = self.record.concurrency
        self._concurrency = self.consumer.concurrency if said is None else said
        if not self.consumer.is_async:
            self._concurrency = min(self._concurrency, THREADS_MAX)
            self._threads.allow(self._concurrency)

    def offer(self, item: InHand) -> None:
        """Take a delivery into hand. Call `start` after the last one."""
        self._after.take(item)

    def offer_page(self, rows: Sequence[Row], places: Mapping[int, tuple[Partition, Mark]]) -> None:
        """Take those of *rows* into hand whose partition, by its number, is among *places*. Call `start` then."""
        self._after.take_page(rows, places)

    def bury(self, item: InHand, error: BaseException) -> None:
        """Take a delivery into hand that shall not run any more: it failed with *error*."""
        self._after.bury(item, error)

    def finish(self, item: InHand) -> None:
        """Take a delivery row into hand that was handled before."""
        self._after.finish(item)

    def hand_back(self, item: InHand) -> None:
        """Take a delivery row into hand that shall not run now."""
        self._after.hand_back(item)

    def start(self) -> None:
        """
        Give what is ready to one more place, if the subscription has one left.

        One at a time: handlers that never wait need no second, and one that has to wait calls for it.
        """
        if self._stopping or self.record.paused or self._newest is not None:
            return
        if len(self._slots) >= self._concurrency:
            return
        if not self._lanes.has_next():
            self._set_alarm()
        elif self._breaker.is_closed or self._has_probe:
            slot = self._newest = Slot()
            self._slots[slot] = None
            slot.task = asyncio.get_running_loop().create_task(self._serve(slot))
            slot.task.add_done_callback(self._served)

    def _set_alarm(self) -> None:
        """Try again when somebody may go who waits for a limit."""
        if self._alarm is None and (seconds := self._lanes.opens_in()) is not None:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._wake_up)

    def _wake_up(self) -> None:
        self._alarm = None
        self.start()

    # Running

    async def _serve(self, slot: Slot) -> None:
        self._newest = None
        try:
            until = self._shared.ports.elapsed() + _YIELD_SECONDS
            while self._may_hand_out(slot):
                rest = self._go_on(slot, until)
                self._lanes.still_run(items := slot.items)
                if rest is not None:
                    self.start()
                    try:
                        await rest
                    finally:
                        self._lanes.ended(items)
                slot.items = ()
                if slot.probes:
                    self._breaker.probe_ended()
                if slot.started > until:
                    await asyncio.sleep(0)
                    until = self._shared.ports.elapsed() + _YIELD_SECONDS
        finally:
            self._slots.pop(slot, None)
            if slot.probes:
                self._breaker.probe_ended()
            if not self._lanes.has_next():
                self._set_alarm()
            self._shared.room()

    def _served(self, task: asyncio.Task[None]) -> None:
        if self._newest is not None and self._newest.task is task:
            self._newest = None  # cancelled before it began
        if not task.cancelled() and (error := task.exception()) is not None:
            self._shared.stop(error)
            logger.critical("subscription %s: the runner itself failed", self.record.name, exc_info=error)

    def _go_on(self, slot: Slot, until: float) -> Awaitable[None] | None:
        """Run what is ready; returns the rest of it, None where no handler has to wait for anything."""
        slot.timed_out, slot.probes = False, not self._breaker.is_closed
        if slot.probes:
            self._breaker.probe()
        return self._run_singly(slot, min(until, self._shared.leases.valid_until))

    def _run_singly(self, slot: Slot, until: float) -> Awaitable[None] | None:
        """
        Run what is ready, one event after the other, until one has to wait, or the time is up.

        Nothing else runs meanwhile, so what may stop the hand-out was asked once for all of them, but for the clock.
        """
        lanes, elapsed, begin = self._lanes, self._shared.ports.elapsed, self._caller.begin
        completed: list[InHand] = []
        starts: list[float] = []
        try:
            while lanes.has_next() and (now := elapsed()) <= until:
                item = lanes.take_probe() if slot.probes else lanes.take()
                if not item.partition.may_run:
                    self._after.drop(item)
                    continue
                slot.started = now
                if item.due is not None and item.due.handled:
                    self._after.passed(item)
                else:
                    try:
                        rest = begin(item)
                    except BaseException as error:  # noqa: BLE001 - every error of a handler has its outcome
                        return self._fail(slot, item, error)
                    if rest is not None:
                        slot.items = (item,)
                        return self._finish(slot, item, rest)
                    if item.due is None:
                        completed.append(item)
                        starts.append(now)
                    else:
                        self._after.handled(item)
                        self._timing.together((item,), now)
                lanes.free(item.key)
                if slot.probes:
                    break
        finally:
            if completed:
                self._after.completed(completed)
                self._timing.one_by_one(completed, starts)
        return None

    @property
    def _has_probe(self) -> bool:
        """Whether one that is ready may be tried now; suspects come first, or they would wait for others for ever."""
        return self._wants_probe and (self.suspects == 0 or self._lanes.has_awaited)

    def _may_hand_out(self, slot: Slot) -> bool:
        slot.started = self._shared.ports.elapsed()
        return (
            len(self._slots) <= self._concurrency  # fewer may be allowed now
            and not self._stopping
            and not self.record.paused
            and (self._breaker.is_closed or self._has_probe)
            and slot.started < self._shared.leases.valid_until
            and self._lanes.has_next()
        )

    async def _finish(self, slot: Slot, item: InHand, rest: Awaitable[None]) -> None:
        has_receipt = self.consumer.transactional
        try:
            await rest
            if slot.timed_out and not has_receipt:
                raise asyncio.CancelledError
        except BaseException as error:  # noqa: BLE001 - every error of a handler has its outcome
            await self._fail(slot, item, error)
        else:
            self._after.handled(item, has_receipt=has_receipt)
            self._timing.together((item,), slot.started)
            if slot.timed_out:  # too late: it has committed
                await self._reuse_task(slot, None)
            self._after.free(item.key)

    async def _fail(self, slot: Slot, item: InHand, error: BaseException) -> None:
        lane = await self._ended(slot, [item], error)
        if lane is Lane.BLOCKED:
            self._after.hold_followers(item.key)  # also those that came while it failed
        if lane in (Lane.FREE, Lane.BLOCKED):
            self._after.free(item.key)

    # Ending

    async def _ended(self, slot: Slot, items: list[InHand], error: BaseException) -> Lane:
        """An attempt raised: decide, record, and make the place usable again."""
        slot.items = ()  # it is over: a cancel of the watchdog would end the task now, and leave the lane closed
        if slot.aborted and isinstance(error, asyncio.CancelledError):
            for item in items:
                self._after.drop(item)
            raise error
        seconds = self._shared.ports.elapsed() - slot.started
        self._timing.failed(items, seconds, error)
        cause = error
        if is_handlers := isinstance(error, RaisedByHandler):
            error = error.error
        if slot.timed_out:
            error = AttemptTimeout(f"no end after {self.consumer.timeout:g} s")
        lane, thread_runs = Lane.FREE, isinstance(cause, ThreadStillRuns)
        for item in items:
            item.waits_for += thread_runs
            lane = self._after.failed(item, error, seconds, is_handlers=is_handlers, is_probe=slot.probes)
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._shared.stop(error)
        await self._reuse_task(slot, cause)
        if lane is Lane.AGAIN:
            for item in items:
                item.waits_for = 0
                self._lanes.put_back(item)
        elif thread_runs and lane is Lane.CLOSED:
            self._after.unwait(items[0])
        if isinstance(error, StoreUnavailable):
            await asyncio.sleep(_STORE_PAUSE)
        return lane

    async def _reuse_task(self, slot: Slot, error: BaseException | None) -> None:
        """Undo a cancel, the watchdog's or the handler's own; a thread keeps its place and key until it returns."""
        while slot.task is not None and slot.task.cancelling():
            slot.task.uncancel()
        if isinstance(error, ThreadStillRuns):
            slot.items = ()
            await asyncio.wait({error.future})

    def expire(self, now: float) -> None:
        """The watchdog's round: cancel attempts that have run for longer than the timeout."""
        for slot in self._slots:
            if slot.items and not slot.timed_out and now - slot.started > self.consumer.timeout:
                assert slot.task is not None
                slot.timed_out = True
                slot.task.cancel()
        if self._breaker.wants_probe(now):
            self.start()
            self._shared.room()
            self._shared.due(0.0)

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopping = True

    @property
    def running(self) -> list[asyncio.Task[None]]:
        return [slot.task for slot in self._slots if slot.task is not None]

    def abort(self) -> None:
        """Cancel what runs; it is handed back, no attempt is counted."""
        for slot in self._slots:
            if slot.task is not None:
                slot.aborted = True
                slot.task.cancel()
