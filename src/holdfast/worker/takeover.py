"""Taking a partition over: what the owner before may have had in hand comes first, carefully.

1. Delivery rows found ``running`` are suspects: they run one at a time, one attempt counted before each run.
2. Every event that the horizon taken now shows and the cursor does not settle is looked up: what has a receipt or a
   delivery row is passed over. If the owner vanished, the first of the rest, as many as it can have had in hand, run in
   recovery mode: small chunks that are written as ``running`` before they start. All others are handed out at once.
3. Beyond the horizon nothing can have been in hand: full speed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import HoldfastError, LeaseLost, StoreUnavailable
from holdfast.stores.values import Attempt
from holdfast.worker.decisions import WorkerLost
from holdfast.worker.hand import InHand, Phase
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence

    from holdfast.counts import WorkerCounts
    from holdfast.event import Row
    from holdfast.stores.base import Store
    from holdfast.stores.values import Due, Page, Slice
    from holdfast.worker.hand import Deferred, Key, Mark, Partition
    from holdfast.worker.runner import Runner
    from holdfast.worker.settler import Settler

logger = logging.getLogger("holdfast.worker")

T = TypeVar("T")
CHUNK = 64
_CHUNK_LEAST = 8
_PAUSE = 0.5


def chunk_size(crashes: int, recovering: int = 1) -> int:
    """Events of a partition that run together in recovery: 64, halved after each further crash.

    Several partitions that recover at once share the 64, but get a few each: whatever of them runs when the worker
    vanishes again is suspect, and suspects run one at a time.
    """
    return max(_CHUNK_LEAST, CHUNK // recovering >> max(crashes - 1, 0))


class TakeOver:
    """Brings acquired partitions to full speed.

    Args:
        store: Where rows and receipts are.
        settler: Writes lost attempts.
        runners: By subscription id.
        suspects: As the store's, while no row is being claimed, and nothing written about one.
        mark_fast: Tells the store that nothing of the owner before is left.
        recount: Counts the delivery rows that keys wait behind; called while nothing is written about them.
        spawn: Runs a coroutine in the background.
        ready: A partition can be read now.
        counts: The worker's.
    """

    def __init__(
        self, store: Store, settler: Settler, runners: Mapping[int, Runner], *,
        suspects: Callable[[Collection[Slice]], Awaitable[Sequence[Due]]],
        mark_fast: Callable[[Partition], Coroutine[None, None, None]], recount: Callable[[], Coroutine[None, None, None]],
        spawn: Callable[[Coroutine[None, None, None]], None], ready: Callable[[], None], counts: WorkerCounts,
    ) -> None:  # fmt: skip
        self._store, self._settler, self._runners = store, settler, runners
        self._suspects, self._mark_fast, self._recount = suspects, mark_fast, recount
        self._spawn, self._ready = spawn, ready
        self._lost: dict[int, set[Partition]] = {}  # by subscription: taken over from the vanished, not through yet
        self._one_suspect = asyncio.Lock()
        self._recovering = 0
        self._outage = Outage("a take-over waits for the store", "the take-over goes on", counts)

    async def begin(self, partitions: Sequence[Partition], horizon: Callable[[], Coroutine[None, None, str]]) -> None:
        """Load what the store knows of these partitions, and decide how each one starts."""
        while partitions := [partition for partition in partitions if partition.phase is Phase.STARTING]:
            try:
                await self._begin(partitions, horizon)
            except HoldfastError as error:
                self._outage.met(error)
                await asyncio.sleep(_PAUSE)
            else:
                self._outage.over()

    async def _begin(self, partitions: Sequence[Partition], horizon: Callable[[], Coroutine[None, None, str]]) -> None:
        slices = [partition.slice for partition in partitions]
        blocked = await self._store.blocked_keys(slices)
        # Also after a goodbye: a claim whose answer was lost leaves rows that nobody has in hand.
        suspects = await self._store.suspects(slices)
        until = await horizon() if any(not partition.exact for partition in partitions) else None
        self._tell(partitions, suspects)
        for partition in partitions:
            if partition.phase is not Phase.STARTING:
                continue
            partition.blocked = blocked.get(partition.slice, {})
            going_on = partition.set_apart(self._runners[partition.slice.subscription].apart)
            if partition.exact:
                partition.phase = Phase.FAST
                for one in going_on:
                    one.phase, one.waits = Phase.FAST, False
            else:
                partition.phase, partition.horizon = Phase.CHECKING, until
                if going_on:
                    self._spawn(self.go_on(going_on, horizon))
            for part in partition.parts:  # what still waits has its suspects run when it goes on
                self._run_first(part, suspects)
        self._ready()

    def _run_first(self, part: Partition, suspects: Sequence[Due]) -> None:
        """Run those of *suspects* that are this part's, before anything of it is read."""
        own = [due for due in suspects if due.slice == part.slice and part.takes(due.row.tenant_id)]
        if own:
            part.recovering = True
            self._spawn(self._run_suspects(part, own))

    async def go_on(self, deferred: Sequence[Deferred], horizon: Callable[[], Coroutine[None, None, str]]) -> None:
        """Tenants are not deferred any more: what is suspect of theirs runs first, then they catch up."""
        while deferred := [one for one in deferred if one.waits and one.may_run]:
            try:
                until = await horizon()
                suspects = await self._suspects({one.slice for one in deferred})
            except HoldfastError as error:
                self._outage.met(error)
                await asyncio.sleep(_PAUSE)
                continue
            self._outage.over()
            for one in deferred:
                if not one.waits or self._shall_wait(one):
                    continue
                one.go_on(until)
                in_hand = self._runners[one.slice.subscription].in_hand
                self._run_first(one, [due for due in suspects if due.row.id not in in_hand])
            deferred = [one for one in deferred if not self._shall_wait(one)]
            self._ready()

    def _shall_wait(self, one: Deferred) -> bool:
        return one.tenant_id in self._runners[one.slice.subscription].apart

    async def check(self, partition: Partition, page: Page) -> None:
        """Pass over what is known of a page, and hand out or recover the rest."""
        runner = self._runners[partition.slice.subscription]
        rows = [row for row in page.rows if self._concerns(runner, partition, row)]
        in_hand = {row.id: runner.in_hand[row.id] for row in rows if row.id in runner.in_hand}
        known = await self._store.known(partition.slice.subscription, [(row.id, row.day) for row in rows])
        if not partition.is_readable:
            return
        mark = partition.add_page(page)
        fresh, seen = [], set[bytes]()
        for row in rows:
            if (item := in_hand.get(row.id)) is not None and runner.in_hand.get(row.id) is item:
                if item.due is None:  # read by a session that is lost, or before it was deferred: its page is this now
                    if item.mark is not None:
                        item.mark.open -= 1
                    item.mark = mark
                    mark.open += 1
            elif not partition.takes(row.tenant_id):
                continue  # it was deferred while its page was looked up
            elif row.id not in known and row.id not in in_hand and row.id not in seen:
                fresh.append(row)
                seen.add(row.id)  # another program may have stored an id on two days: it is one event
        if page.cursor.open is None and page.horizon == partition.horizon:
            partition.horizon = None  # not when only the window that the owner before had open is exhausted
        careful, fresh = (fresh[: partition.doubtful], fresh[partition.doubtful :]) if partition.lost else ([], fresh)
        if careful:
            partition.doubtful -= len(careful)
            partition.recovering = True
            mark.open += 1  # the cursor stays before this page until all of it is recovered
            self._spawn(self._recover(partition, mark, careful, lambda: self._recovered(partition, mark, fresh)))
        else:
            self._hand_out(partition, mark, fresh)
            self._page_done(partition)

    def _hand_out(self, partition: Partition, mark: Mark, rows: Sequence[Row]) -> None:
        runner = self._runners[partition.slice.subscription]
        for row in rows:
            if partition.takes(row.tenant_id):
                runner.offer(InHand(row, partition, runner.key_of(row.tenant_id, row.key), row.size, mark))
        runner.start()

    def _concerns(self, runner: Runner, partition: Partition, row: Row) -> bool:
        return (
            row.slot % runner.record.partitions == partition.slice.partition
            and runner.matches(row.name)
            and partition.takes(row.tenant_id)
        )

    def _recovered(self, partition: Partition, mark: Mark, rest: Sequence[Row]) -> None:
        self._hand_out(partition, mark, rest)  # only now, or a key's later event would overtake
        mark.open -= 1
        partition.recovering = False
        self._page_done(partition)

    def _page_done(self, partition: Partition) -> None:
        partition.advance()
        if partition.horizon is None and partition.phase is Phase.CHECKING and not partition.is_waiting:
            partition.phase, partition.exact = Phase.FAST, True
            if partition.lost:
                partition.lost = False
                if not partition.whole.is_lost:
                    self._spawn(self._mark_fast(partition))
                    self._tell_end(partition.whole)
        self._ready()

    def _tell(self, partitions: Sequence[Partition], suspects: Sequence[Due]) -> None:
        lost = [partition for partition in partitions if partition.lost and partition.phase is Phase.STARTING]
        for subscription in {partition.slice.subscription for partition in lost}:
            own = {partition for partition in lost if partition.slice.subscription == subscription}
            self._lost[subscription] = self._lost.get(subscription, set()) | own
            slices = {partition.slice for partition in own}
            logger.warning(
                "subscription %s: its worker vanished with %d partitions; %d deliveries are on record as in its hands",
                self._runners[subscription].record.name, len(own), sum(due.slice in slices for due in suspects),
            )  # fmt: skip

    def _tell_end(self, partition: Partition) -> None:
        subscription = partition.slice.subscription
        if (lost := self._lost.get(subscription)) is None:
            return
        lost.discard(partition)
        if not any(one.may_run for one in lost):
            del self._lost[subscription]
            name = self._runners[subscription].record.name
            logger.info("subscription %s: what its lost worker had in hand is finished", name)

    # Recovery mode

    async def _recover(self, partition: Partition, mark: Mark, rows: list[Row], done: Callable[[], None]) -> None:
        """Run *rows* in chunks; a chunk is on record before it starts and settled before the next."""
        waiting = deque(rows)
        self._recovering += 1
        try:
            while waiting and partition.may_run:
                chunk = self._next_chunk(partition, mark, waiting)
                if chunk and not await self._recover_chunk(partition, chunk):
                    return
        finally:
            self._recovering -= 1
        if partition.may_run:
            done()

    def _next_chunk(self, partition: Partition, mark: Mark, waiting: deque[Row]) -> list[Row]:
        """The next rows that may run. What stands behind its key is not among them: it is held there, as ever."""
        runner = self._runners[partition.slice.subscription]
        size = chunk_size(partition.crashes, self._recovering)
        chunk: list[Row] = []
        while waiting and len(chunk) < size:
            row = waiting.popleft()
            if not partition.takes(row.tenant_id):
                continue
            key = runner.key_of(row.tenant_id, row.key)
            if key is not None and key in partition.blocked:
                runner.offer(InHand(row, partition, key, row.size, mark))
            else:
                chunk.append(row)
        return chunk

    async def _recover_chunk(self, partition: Partition, chunk: list[Row]) -> bool:
        runner = self._runners[partition.slice.subscription]
        due = await self._take_in(partition, chunk)
        if due is None:
            return False
        await self._run_and_wait(runner, partition, due)
        if partition.crashes > 1 and partition.may_run:
            # It got through a chunk: what made its owners vanish is not what stands here.
            partition.crashes = 1
            self._spawn(self._mark_fast(partition))
        return True

    async def _take_in(self, partition: Partition, chunk: Sequence[Row]) -> list[Due] | None:
        """
        Put *chunk* on record; None where the partition is not ours any more.

        The rows and the count of those that keys wait behind come together: a recount in between would miss them, and
        let later events overtake, or count them twice, and let them wait for nobody.
        """
        is_repeated = False

        async def take_in() -> list[Due]:
            nonlocal is_repeated
            may_be_counted, is_repeated = is_repeated, True
            taken = await self._store.take_in(partition.slice, partition.epoch, chunk)
            if may_be_counted:  # committed at first, though its answer was lost, and seen by a recount since
                await self._recount()
            else:
                for due in taken:
                    self._block(partition, due)
            return taken

        return await self._repeat(partition, partial(self._settler.exclusively, take_in))

    def _block(self, partition: Partition, due: Due) -> None:
        if (key := self._item(self._runners[partition.slice.subscription], partition, due).key) is not None:
            partition.block(key)

    async def _run_suspects(self, partition: Partition, suspects: Iterable[Due]) -> None:
        """One after the other, over all subscriptions: a crash counts an attempt for whatever runs at the time."""
        runner = self._runners[partition.slice.subscription]
        standing: set[Key] = set()  # keys whose suspect did not settle
        for due in suspects:
            if not partition.takes(due.row.tenant_id):
                continue  # deferred meanwhile: it stays a suspect, and runs when its tenant goes on
            item = self._item(runner, partition, due)
            if not self._is_over(runner, due) and (due.behind or item.key in standing):
                runner.hand_back(item)
                continue
            waiting = partition.blocked.get(item.key, 0) if item.key is not None else 0
            if not await self._run_in_turn(runner, partition, due):
                return
            if item.key is not None and partition.blocked.get(item.key, 0) >= waiting:
                standing.add(item.key)
        partition.recovering = False
        self._page_done(partition)

    async def _run_in_turn(self, runner: Runner, partition: Partition, due: Due) -> bool:
        """Run a suspect when no other one does; False where the partition is not ours any more."""
        runner.suspects += 1
        try:
            while partition.may_run:
                if not partition.takes(due.row.tenant_id):
                    return True
                if not runner.may_try and not self._is_over(runner, due):
                    await asyncio.sleep(_PAUSE)  # others' suspects go on meanwhile
                    continue
                async with self._one_suspect:
                    again = await self._run_suspect(runner, partition, due)
                if again is None:
                    return partition.is_alive
                due = again
            return False
        finally:
            runner.suspects -= 1

    def _is_over(self, runner: Runner, due: Due) -> bool:
        """Whether it is settled without another run."""
        return due.handled or due.attempts >= runner.consumer.retry.max_attempts

    async def _run_suspect(self, runner: Runner, partition: Partition, due: Due) -> Due | None:
        """Run it; gives it back where it was not its turn after all: its subscription was held up in the last moment."""
        if not partition.may_run:
            return due
        if self._is_over(runner, due):
            await self._end_suspect(runner, partition, due)
            return None
        if not runner.may_try:
            return due
        if due.lost:
            self._settler.lost_attempt(self._item(runner, partition, due), lost_attempt(due))
            await self._settler.flush()  # on record before the next attempt, which may be as short
            due = due._replace(lost=False)
        begun = await self._repeat(partition, partial(self._store.begin_attempt, due, partition.epoch))
        if begun is None:
            return None
        has_run = await self._run_and_wait(runner, partition, [begun], counted=True)
        return None if has_run else begun

    async def _run_and_wait(
        self, runner: Runner, partition: Partition, due: Sequence[Due], *, counted: bool = False
    ) -> bool:
        """Offer delivery rows that are ``running`` and wait until each is settled.

        False where a suspect, ``counted``, was put off: others' suspects shall not wait until its subscription goes on.
        """
        left, all_done, has_run = len(due), asyncio.Event(), True
        items = [self._item(runner, partition, one) for one in due]

        def one_done() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                all_done.set()

        for item in items:
            item.on_done = one_done
            runner.offer(item)
        runner.start()
        # A suspect runs alone to its end, also when its lease is lost meanwhile: the next one would be counted for it.
        while left and (counted or partition.is_alive):
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE):
                    await all_done.wait()
            if left and counted and has_run and runner.is_held_up:
                has_run = not runner.waiting.put_off(items[0])
        return has_run

    async def _end_suspect(self, runner: Runner, partition: Partition, due: Due) -> None:
        ended = asyncio.Event()
        item = self._item(runner, partition, due)
        item.on_done = ended.set
        if due.handled:
            runner.finish(item)
        else:
            item.attempt = due.attempts
            runner.bury(item, WorkerLost(f"the worker vanished in each of {due.attempts} attempts"))
        await ended.wait()

    def _item(self, runner: Runner, partition: Partition, due: Due) -> InHand:
        return InHand.of(due, partition, runner.key_of(due.row.tenant_id, due.row.key))

    async def _repeat(self, partition: Partition, call: Callable[[], Coroutine[None, None, T]]) -> T | None:
        while partition.may_run:
            try:
                result = await call()
            except LeaseLost:
                return None
            except StoreUnavailable as error:
                self._outage.met(error)
                await asyncio.sleep(_PAUSE)
            except HoldfastError:
                name = self._runners[partition.slice.subscription].record.name
                logger.exception(
                    "subscription %s, partition %d: its recovery is refused", name, partition.slice.partition
                )
                await asyncio.sleep(_PAUSE)
            else:
                self._outage.over()
                return result
        return None


def lost_attempt(due: Due) -> Attempt:
    """The record of an attempt in which the worker vanished."""
    return Attempt(
        due.slice, due.row.id, due.row.day, due.attempts, "worker lost", WorkerLost.__name__,
        "the worker vanished while it handled this event", None, 0.0,
    )  # fmt: skip
