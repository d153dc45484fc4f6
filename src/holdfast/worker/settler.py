"""Outcomes go to the store together: one transaction at a time, while the next outcomes gather."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import HoldfastError, InvalidEvent, StoreUnavailable
from holdfast.stores.values import Advance, Finished, Parked, Receipts, Revised, Settlement, Slice, State
from holdfast.worker.calling import receipt_of
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from holdfast.counts import WorkerCounts
    from holdfast.event import NewEvent
    from holdfast.stores.base import Store
    from holdfast.stores.values import Attempt
    from holdfast.worker.decisions import Verdict
    from holdfast.worker.hand import InHand, Partition

logger = logging.getLogger("holdfast.worker")

_GATHER_SECONDS = 0.003
_FLUSH_SIZE = 1000
_LONGEST_PAUSE = 2.0

T = TypeVar("T")
Completed = Callable[[list["InHand"]], None]
Committed = tuple["InHand", Callable[["InHand"], None]]


class Settler:
    """Gathers outcomes and writes them.

    Whoever adds an outcome says what to do once it is committed. Nothing is forgotten while the store is away: a
    batch is repeated until it is written, or until its lease is lost.

    Args:
        store: Where to write.
        lost: Called with slices, and their epochs, whose lease turned out to be another worker's.
        counts: The worker's.
    """

    def __init__(self, store: Store, lost: Callable[[Mapping[Slice, int]], None], counts: WorkerCounts) -> None:
        self._store, self._lost, self._counts = store, lost, counts
        self._next = Settlement()
        self._completed: dict[Completed, list[InHand]] = {}
        self._handled: list[InHand] = []
        self._committed: list[Committed] = []
        self._gathered = 0
        self._blocking: list[InHand] = []
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._writing = asyncio.Lock()
        self._outage = Outage("outcomes cannot be written now, and wait", "outcomes are written", counts)

    @property
    def available(self) -> bool:
        """Whether the store takes outcomes."""
        return not self._outage.is_on

    # Adding: plain calls, nothing waits

    def completed(self, items: Sequence[InHand], then: Completed) -> None:
        """
        The handler returned for each at the first attempt, on the fast path; *then* takes all that are committed
        together.
        """
        self._completed.setdefault(then, []).extend(items)
        self._count(len(items))

    def handled(self, item: InHand, then: Callable[[InHand], None], *, has_receipt: bool) -> None:
        """The handler returned. ``has_receipt``: its transaction wrote it already."""
        if not has_receipt:
            self._handled.append(item)
        if item.due is not None and self._fence(item.partition):
            self._next.finished.append(Finished(item.partition.slice, item.due.delivery, item.due.claim))
        self._add(item, then)

    def failed(
        self, item: InHand, verdict: Verdict, attempt: Attempt, then: Callable[[InHand], None], *,
        events: Iterable[NewEvent] = (), blocks: bool,
    ) -> None:  # fmt: skip
        """An attempt failed; *events* are published if and when that is written. ``blocks``: its key waits."""
        partition = item.partition
        if not self._fence(partition):
            self._add(item, then)
            return
        where, (state, reason) = partition.slice, (verdict.state, verdict.reason)
        if item.due is None:
            self._next.parked.append(
                Parked(where, item.row, state, verdict.attempts, verdict.put_offs, verdict.due_in, reason)
            )
            if blocks:
                self._blocking.append(item)
        else:
            self._next.revised.append(
                Revised(
                    where, item.due.delivery, item.due.claim, state, verdict.attempts, verdict.put_offs, verdict.due_in,
                    reason,
                )
            )  # fmt: skip
        self._next.attempts.append(attempt)
        self._next.events += [(where, event) for event in events]
        self._add(item, then)

    def held(self, item: InHand, then: Callable[[InHand], None]) -> None:
        """The event waits behind its key, as a delivery row; the log goes on."""
        if self._fence(item.partition):
            self._next.parked.append(Parked(item.partition.slice, item.row, State.PENDING))
            self._blocking.append(item)
        self._add(item, then)

    def handed_back(
        self, item: InHand, attempts: int, then: Callable[[InHand], None], state: State = State.PENDING
    ) -> None:
        """A delivery row was not run after all."""
        assert item.due is not None
        if self._fence(item.partition):
            due = item.due
            self._next.revised.append(
                Revised(item.partition.slice, due.delivery, due.claim, state, attempts, due.put_offs)
            )
        self._add(item, then)

    def lost_attempt(self, item: InHand, attempt: Attempt) -> None:
        """An attempt in which a worker vanished is put on record."""
        if self._fence(item.partition):
            self._next.attempts.append(attempt)
            self._wake.set()

    def advance(self, partition: Partition) -> None:
        """The cursor is due to be written."""
        if self._fence(partition):
            place = partition.place
            passed = partition.passed(self._store.latest)
            kept = place if place.deferred else None
            self._next.advances.append(Advance(partition.slice, passed, partition.placed_in, kept))
            partition.written = place
            self._wake.set()

    def _fence(self, partition: Partition) -> bool:
        """Whether it may still be written under the partition's epoch, as far as this worker knows."""
        if not partition.is_alive:
            return False
        if self._next.epochs.get(partition.slice, partition.epoch) != partition.epoch:
            self._next.forget(partition.slice)  # what waits there is of an epoch that is over
        self._next.epochs[partition.slice] = partition.epoch
        return True

    def _add(self, item: InHand, then: Callable[[InHand], None]) -> None:
        self._committed.append((item, then))
        self._count()

    def _count(self, outcomes: int = 1) -> None:
        self._gathered += outcomes
        self._wake.set()
        if self._gathered >= _FLUSH_SIZE:
            self._full.set()

    # Writing

    async def run(self) -> None:
        """Write what gathers, until cancelled."""
        while True:
            await self._wake.wait()
            if not self._full.is_set():
                await self._gather()
            self._wake.clear()
            self._full.clear()
            await self.flush()

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_GATHER_SECONDS, self._full.set)
        await self._full.wait()
        timer.cancel()

    async def flush(self) -> None:
        """Write everything that was added so far; returns when it is committed."""
        async with self._writing:
            await self._write()

    async def exclusively(self, work: Callable[[], Awaitable[T]]) -> T:
        """Write everything, then do *work* before anything else is written."""
        async with self._writing:
            await self._write()
            return await work()

    def blocking(self) -> list[InHand]:
        """Deliveries that keys will wait behind, whose rows are not written yet."""
        return [item for item in self._blocking if item.key is not None]

    async def _write(self) -> None:
        settlement, handled, committed, blocking = self._next, self._handled, self._committed, self._blocking
        completed = self._completed
        if not completed and not committed and not settlement.epochs:
            return
        self._next, self._handled, self._committed, self._blocking = Settlement(), [], [], []
        if self._gathered:
            self._counts.batches.add(self._gathered)
        self._completed, self._gathered = {}, 0
        for item in handled:
            settlement.add(receipt_of(item))
        for items in completed.values():
            add_completed(settlement, items)
        try:
            # A transactional handler's own transaction has written everything: nothing is left to write.
            lost = await self._persist(settlement) if settlement.receipts or settlement.epochs else set[Slice]()
        except asyncio.CancelledError:
            # The loop ends in the midst of it. Whoever says goodbye writes it again, which changes nothing.
            self._next = settlement.before(self._next)
            self._handled, self._committed = handled + self._handled, committed + self._committed
            for alike, items in self._completed.items():
                completed[alike] = completed.get(alike, []) + items
            self._completed = completed
            self._wake.set()
            self._blocking = blocking + self._blocking
            raise
        if lost:
            self._lost({one: settlement.epochs[one] for one in lost if one in settlement.epochs})
        for settled, items in completed.items():
            settled(items)
        for item, then in committed:
            then(item)

    async def _persist(self, settlement: Settlement) -> set[Slice]:
        pause = 0.05
        while True:
            try:
                lost = await self._store.settle(settlement)
            except StoreUnavailable as error:
                self._outage.met(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except InvalidEvent as error:
                if not settlement.events:
                    logger.exception("the store refuses outcomes for good; these deliveries will run again")
                    return set(settlement.epochs)
                logger.error("the news of dead deliveries is refused, and left out: %s", error)  # noqa: TRY400 - said whole
                settlement.events = []
            except HoldfastError as error:
                # A right that is missing, a table: what ran must not run again for that, so it waits until it is mended.
                self._outage.met(error)
                await asyncio.sleep(_LONGEST_PAUSE)
            else:
                self._outage.over()
                return lost


def add_completed(settlement: Settlement, items: list[InHand]) -> None:
    """The receipts of events of one subscription that were handled at the first attempt."""
    subscription, days = items[0].partition.slice.subscription, dict[int, list[bytes]]()
    for item in items:
        row = item.row
        if (ids := days.get(row.day)) is None:
            ids = days[row.day] = []
        ids.append(row.id)
    for day, ids in days.items():
        settlement.receipts.setdefault(Receipts(subscription, day), []).extend(ids)
