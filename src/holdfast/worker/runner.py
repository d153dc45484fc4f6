"""Lanes and handlers of one subscription: order per key, bounds, timeouts, and what follows from each outcome."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.errors import HoldfastError, Reject, Retry, StoreUnavailable
from holdfast.patterns import Matcher
from holdfast.stores.base import Attempt, State
from holdfast.worker.breaker import Breaker
from holdfast.worker.calling import Caller, ThreadStillRuns
from holdfast.worker.decisions import AttemptTimeout, one_line, trace, verdict_on
from holdfast.worker.letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from holdfast.ports import DaemonThreads, Ports
    from holdfast.stores.base import Slice, Store, Subscription
    from holdfast.subscription import Consumer
    from holdfast.worker.decisions import Verdict
    from holdfast.worker.hand import InHand, Key
    from holdfast.worker.settler import Settler

logger = logging.getLogger("holdfast.worker")

_YIELD_SECONDS = 0.005
_YIELD_EVERY = 16
_STORE_PAUSE = 0.2


class Lane(Enum):
    """What becomes of a key's lane after an attempt."""

    FREE = "free"  # its next event may run
    CLOSED = "closed"  # it opens again by itself: after a commit, or with the same event
    BLOCKED = "blocked"  # later events of the key go behind this one, off the fast path


@dataclass(slots=True, eq=False)
class Slot:
    """One of the subscription's concurrent places, and what runs in it."""

    task: asyncio.Task[None] | None = None
    items: tuple[InHand, ...] = ()
    started: float = 0.0
    timed_out: bool = False


@dataclass(slots=True)
class Shared:
    """What all runners of a worker have in common."""

    store: Store
    settler: Settler
    ports: Ports
    bus: Any
    lease_valid: Callable[[], bool]
    room: Callable[[], None]  # a delivery left a runner's hands
    due: Callable[[float], None]  # a retry falls due in so many seconds
    stop: Callable[[BaseException], None]  # a handler asked the process to end


class Runner:
    """Runs the handler of one subscription.

    Args:
        consumer: Declaration and handler.
        record: What the store says of the subscription; replaced when somebody changes it.
        shared: The worker's common parts.
        threads: For synchronous handlers.
    """

    def __init__(self, consumer: Consumer, record: Subscription, shared: Shared, threads: DaemonThreads) -> None:
        self.consumer, self.record = consumer, record
        self._shared = shared
        self._caller = Caller(consumer, shared.store, threads, shared.bus)
        self._ready: deque[InHand] = deque()
        self._lanes: dict[Key, deque[InHand] | None] = {}
        self._slots: set[Slot] = set()
        self._matcher = Matcher(record.patterns)
        self._breaker = Breaker(consumer.breaker)
        self._stopping = False
        self.in_hand: dict[bytes, InHand] = {}
        self.held_now = 0
        self.bound = max(4 * (consumer.batch or 1), 2000)

    # What comes in

    @property
    def has_room(self) -> bool:
        return self.held_now < self.bound and not self.record.paused and self._breaker.is_closed

    def key_of(self, tenant_id: str, key: str | None) -> Key | None:
        return None if key is None or self.record.ordering == "none" else (tenant_id, key)

    def matches(self, name: str) -> bool:
        return self._matcher(name)

    def change(self, record: Subscription) -> None:
        """Somebody declared, paused or resumed the subscription."""
        self.record = record
        self._matcher = Matcher(record.patterns)
        self.start()

    def offer(self, item: InHand) -> None:
        """Take a delivery: into its key's lane, behind its blocked key, or to the handler. Call `start` after."""
        self._account(item)
        if (key := item.key) is not None:
            if item.due is None and key in item.partition.blocked:
                self._hold(item)
                return
            if key in self._lanes:
                lane = self._lanes[key]
                if lane is None:
                    lane = self._lanes[key] = deque()
                lane.append(item)
                return
            self._lanes[key] = None
        self._ready.append(item)

    def bury(self, item: InHand, error: BaseException) -> None:
        """A delivery that shall not run any more: it failed with *error*."""
        self._account(item)
        self._failed(item, error, 0.0)

    def _account(self, item: InHand) -> None:
        self.held_now += 1
        self.in_hand[item.row.id] = item
        partition = item.partition
        partition.in_hand += 1
        partition.dirty = True
        if item.mark is not None:
            item.mark.open += 1

    def start(self) -> None:
        """Give what is ready to as many places as the subscription may use at once."""
        wanted = min(len(self._ready), self.consumer.concurrency - len(self._slots))
        if self._stopping or self.record.paused:
            return
        if not self._breaker.is_closed:
            wanted = min(wanted, 1 - len(self._slots)) if self._may_probe() else 0
        for _ in range(wanted):
            slot = Slot()
            self._slots.add(slot)
            slot.task = asyncio.get_running_loop().create_task(self._serve(slot))
            slot.task.add_done_callback(self._served)

    # Running

    async def _serve(self, slot: Slot) -> None:
        loop = asyncio.get_running_loop()
        turn, resumed = 0, loop.time()
        try:
            while items := self._take():
                slot.items, slot.started, slot.timed_out = items, self._shared.ports.elapsed(), False
                await self._handle(slot, items)
                slot.items = ()
                turn += 1
                if turn % _YIELD_EVERY == 0 and loop.time() - resumed > _YIELD_SECONDS:
                    await asyncio.sleep(0)
                    resumed = loop.time()
        finally:
            self._slots.discard(slot)
            self._shared.room()

    def _served(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("subscription %s: the runner itself failed", self.record.name, exc_info=error)

    def _take(self) -> tuple[InHand, ...]:
        """The next deliveries to run; none while paused, stopping or unsure of the leases."""
        size = self.consumer.batch or 1
        items: list[InHand] = []
        while self._ready and len(items) < size and self._may_hand_out():
            item = self._ready.popleft()
            while item is not None:
                if not item.partition.may_run:
                    self.drop(item)
                else:
                    items.append(item)
                    lane = self._lanes.get(item.key) if item.key is not None else None
                    if lane and len(items) < size:
                        item = lane.popleft()  # the key's next, in the same batch
                        continue
                break
            if not self._breaker.is_closed:
                break
        return tuple(items)

    def _may_hand_out(self) -> bool:
        return (
            not self._stopping
            and not self.record.paused
            and self._breaker.state is not Breaker.State.OPEN
            and self._shared.lease_valid()
        )

    async def _handle(self, slot: Slot, items: tuple[InHand, ...]) -> None:
        if self.consumer.batch is not None:
            await self._handle_batch(slot, list(items), set())
            for key in {item.key for item in items if item.key is not None}:
                self._free(key)
            return
        (item,) = items
        lane = Lane.FREE
        if item.due is not None and item.due.handled:
            self._handled(item, has_receipt=True)
        else:
            try:
                has_receipt = await self._caller.call(item)
                if slot.timed_out:
                    raise asyncio.CancelledError
            except BaseException as error:  # noqa: BLE001 - every error of a handler has its outcome
                lane = await self._ended(slot, [item], error)
            else:
                self._handled(item, has_receipt=has_receipt)
        if item.key is not None and lane is not Lane.CLOSED:
            self._free(item.key)

    async def _handle_batch(self, slot: Slot, items: list[InHand], blocked: set[Key]) -> None:
        """Run a batch; if it fails, its halves, down to the member that fails alone.

        *blocked* gathers the keys of members that failed: later members of these keys go behind them.
        """
        runnable = []
        for item in items:
            if item.key in blocked:
                self._put_behind(item)
            else:
                runnable.append(item)
        if not runnable:
            return
        try:
            await self._caller.call_batch(runnable)
            if slot.timed_out:
                raise asyncio.CancelledError
        except BaseException as error:  # noqa: BLE001 - every error of a handler has its outcome
            if len(runnable) == 1 or self._aborted(slot) or isinstance(error, SystemExit | KeyboardInterrupt):
                lane = await self._ended(slot, runnable, error)
                if lane is Lane.BLOCKED:
                    blocked |= {item.key for item in runnable if item.key is not None}
                return
            await self._reuse_task(slot, error)
            middle = len(runnable) // 2
            for half in (runnable[:middle], runnable[middle:]):
                slot.started, slot.timed_out = self._shared.ports.elapsed(), False
                await self._handle_batch(slot, half, blocked)
        else:
            for item in runnable:
                self._handled(item, has_receipt=False)

    # What follows

    def _handled(self, item: InHand, *, has_receipt: bool) -> None:
        if self._breaker.succeeded():
            logger.info("subscription %s: the breaker closes, a probe succeeded", self.record.name)
        self._shared.settler.handled(item, self._settled, has_receipt=has_receipt)

    async def _ended(self, slot: Slot, items: list[InHand], error: BaseException) -> Lane:
        """An attempt raised: decide, record, and make the place usable again."""
        if self._aborted(slot) and isinstance(error, asyncio.CancelledError):
            for item in items:
                self.drop(item)
            raise error
        seconds = self._shared.ports.elapsed() - slot.started
        cause = error
        if slot.timed_out:
            error = AttemptTimeout(f"no end after {self.consumer.timeout:g} s")
        lane = Lane.FREE
        for item in items:
            lane = self._failed(item, error, seconds)
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._shared.stop(error)
        await self._reuse_task(slot, cause)
        if isinstance(error, StoreUnavailable):
            await asyncio.sleep(_STORE_PAUSE)
        return lane

    async def _reuse_task(self, slot: Slot, error: BaseException) -> None:
        """Undo the watchdog's cancel; a thread keeps its place, and its key, until it returns."""
        if slot.timed_out and slot.task is not None:
            slot.task.uncancel()
        if isinstance(error, ThreadStillRuns):
            slot.items = ()
            await asyncio.wait({error.future})
            if not error.future.cancelled():
                error.future.exception()  # seen: its outcome has been recorded as a timeout

    def _aborted(self, slot: Slot) -> bool:
        return not slot.timed_out and slot.task is not None and slot.task.cancelling() > 0

    def _failed(self, item: InHand, error: BaseException, seconds: float) -> Lane:
        if self._breaker.state is Breaker.State.PROBING:
            self._breaker.probe_failed(self._shared.ports.elapsed())
            self._ready.appendleft(item)
            return Lane.CLOSED
        if isinstance(error, StoreUnavailable) and self.consumer.transactional:
            # The store went away under the transaction: nothing is known against the handler.
            self._ready.appendleft(item)
            return Lane.CLOSED
        if not isinstance(error, Retry | Reject | HoldfastError):
            self._note_failure(item)
        verdict = verdict_on(
            error, attempts=item.attempt, put_offs=item.put_offs, policy=self.consumer.retry,
            jitter=self._shared.ports.random(),
        )  # fmt: skip
        self._log(item, verdict)
        attempt = Attempt(
            item.partition.slice, item.row.id, item.row.day, item.attempt, verdict.outcome, type(error).__name__,
            one_line(error), trace(error), seconds,
        )  # fmt: skip
        if verdict.state is State.DEAD:
            letters = dead_letter(item.row, self.record.name, item.attempt, verdict.reason)
            if self.record.on_dead == "continue":
                self._shared.settler.failed(item, verdict, attempt, self._buried, events=letters, blocks=False)
                # A crash before the commit must not find the key's next event handled and this one not dead.
                return Lane.CLOSED if self.consumer.batch is None else Lane.FREE
        else:
            letters = ()
        if item.due is None and item.key is not None:
            item.partition.block(item.key)
        self._shared.settler.failed(
            item, verdict, attempt, lambda item: self._parked(item, verdict.due_in), events=letters, blocks=True
        )
        self._hold_followers(item.key)
        return Lane.BLOCKED

    def _log(self, item: InHand, verdict: Verdict) -> None:
        dead = verdict.state is State.DEAD
        logger.log(
            logging.ERROR if dead else logging.WARNING, "subscription %s: event %s %s at attempt %d: %s",
            self.record.name, UUID(bytes=item.row.id), "is dead" if dead else verdict.outcome, item.attempt,
            verdict.reason,
        )  # fmt: skip

    def _note_failure(self, item: InHand) -> None:
        now = self._shared.ports.elapsed()
        if self._breaker.failed(item.row.id, now):
            logger.error(
                "subscription %s: the breaker trips after %d different events failed in a row; probing in %.0f s",
                self.record.name, self.consumer.breaker, self._breaker.until - now,
            )  # fmt: skip

    def _may_probe(self) -> bool:
        return bool(self._ready) and self._breaker.may_probe(self._shared.ports.elapsed())

    def _hold(self, item: InHand) -> None:
        assert item.key is not None
        item.partition.block(item.key)
        self._shared.settler.held(item, self._let_go)

    def _put_behind(self, item: InHand) -> None:
        """It waits behind its key off the fast path: as a new delivery row, or as the row that it is."""
        if item.due is None:
            self._hold(item)
        else:
            self._shared.settler.handed_back(item, item.attempt - 1, self._let_go)

    def _hold_followers(self, key: Key | None) -> None:
        """What stood in the failed event's lane goes behind it, in order."""
        lane = None if key is None else self._lanes.get(key)
        while lane:
            self._put_behind(lane.popleft())

    def _free(self, key: Key) -> None:
        """The key's event is done: its next one is ready, or the lane is gone."""
        lane = self._lanes.get(key)
        if lane:
            self._ready.append(lane.popleft())
            if len(self._slots) < self.consumer.concurrency:
                self.start()
        else:
            self._lanes.pop(key, None)

    def drop(self, item: InHand) -> None:
        """Let go of a delivery that did not run; somebody will read or claim it again."""
        item.partition.skipped = True
        if item.due is not None and item.partition.is_alive:
            self._shared.settler.handed_back(item, item.attempt - 1, self._let_go)
        else:
            self._let_go(item)
        if item.key is not None:
            self._free(item.key)

    # After the commit

    def _settled(self, item: InHand) -> None:
        if item.due is not None:
            if item.key is not None:
                item.partition.unblock(item.key)
            self._shared.due(0.0)
        self._let_go(item)

    def _parked(self, item: InHand, due_in: float) -> None:
        self._shared.due(due_in)
        self._let_go(item)

    def _buried(self, item: InHand) -> None:
        """The dead row is committed: only now may the key go on, or a crash would put the dead one after it."""
        if item.due is not None and item.key is not None:
            item.partition.unblock(item.key)
            self._shared.due(0.0)
        self._let_go(item)
        if item.key is not None and self.consumer.batch is None:
            self._free(item.key)
            self.start()

    def _let_go(self, item: InHand) -> None:
        self.held_now -= 1
        if self.in_hand.get(item.row.id) is item:
            del self.in_hand[item.row.id]
        item.close()

    # Keeping watch, ending

    def expire(self, now: float) -> None:
        """The watchdog's round: cancel attempts that have run for longer than the timeout."""
        for slot in self._slots:
            if slot.items and not slot.timed_out and now - slot.started > self.consumer.timeout:
                assert slot.task is not None
                slot.timed_out = True
                slot.task.cancel()
        if not self._breaker.is_closed:
            self.start()

    def drop_waiting(self, slices: Collection[Slice] | None = None) -> None:
        """Drop what waits and does not run, of these slices or of all."""
        kept: deque[InHand] = deque()
        while self._ready:
            item = self._ready.popleft()
            if slices is None or item.partition.slice in slices:
                self.drop(item)  # the next one of its lane comes to the end, and is dropped in its turn
            else:
                kept.append(item)
        self._ready = kept

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopping = True

    @property
    def is_idle(self) -> bool:
        return not self._slots

    @property
    def running(self) -> list[asyncio.Task[None]]:
        return [slot.task for slot in self._slots if slot.task is not None]

    def abort(self) -> None:
        """Cancel what runs; it is handed back, no attempt is counted."""
        for task in self.running:
            task.cancel()
