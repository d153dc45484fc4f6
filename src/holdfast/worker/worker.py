"""The worker as a whole: what it holds, what runs, how it starts and ends."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from holdfast import __version__
from holdfast.counts import WorkerCounts
from holdfast.errors import HoldfastError, StoreUnavailable
from holdfast.ports import SYSTEM, Ports
from holdfast.stores.values import WorkerInfo
from holdfast.tracing import NO_TRACING
from holdfast.worker.aftermath import Shared
from holdfast.worker.batches import BatchRunner
from holdfast.worker.cancelling import cancelled
from holdfast.worker.chores import Chores
from holdfast.worker.feeder import Feeder
from holdfast.worker.hand import Partition, Phase
from holdfast.worker.keeper import Keeper
from holdfast.worker.letting_go import LettingGo
from holdfast.worker.places import Places
from holdfast.worker.retries import Retries
from holdfast.worker.runner import Runner
from holdfast.worker.sampling import Sampler
from holdfast.worker.settler import Settler
from holdfast.worker.standing import standing
from holdfast.worker.takeover import TakeOver
from holdfast.worker.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence

    from holdfast.counts import SubscriptionWork
    from holdfast.ports import Threads
    from holdfast.stores.base import Store
    from holdfast.stores.values import Due, Lease, Slice, Subscription
    from holdfast.subscription import Consumer
    from holdfast.tracing import Tracing
    from holdfast.worker.hand import Deferred
    from holdfast.worker.options import WorkerOptions

logger = logging.getLogger("holdfast.worker")

_LOOK_SECONDS = 0.05
_ABORT_SECONDS, _GOODBYE_SECONDS = 2.0, 5.0


class Worker:
    """Handles the events of some subscriptions, together with all other workers that run them.

    Args:
        store: Opened.
        options: Settings.
        bus: What handlers' own publishes are recognised by.
        ports: The world outside.
        tracing: Who follows events.
    """

    def __init__(
        self, store: Store, options: WorkerOptions, *, bus: Any, ports: Ports = SYSTEM, tracing: Tracing = NO_TRACING
    ) -> None:
        self._store, self._options, self._ports = store, options, ports
        self._me = ports.identity()
        self._id = ports.new_worker_id()
        self._partitions: dict[Slice, Partition] = {}
        self._zombies: dict[Slice, Partition] = {}
        self._runners: dict[int, Runner] = {}
        self._threads: list[Threads] = []
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their making
        self._services: list[asyncio.Task[None]] = []
        self._draining = False
        self.stop_requested = asyncio.Event()
        self.cause: BaseException | None = None
        """What a handler raised to end the process: SystemExit or KeyboardInterrupt."""
        self.counts = WorkerCounts()
        self._settler = Settler(store, self.lose, self.counts)
        self._places = Places(store, self._settler, self._partitions)
        self.keeper = Keeper(store, self, ports, ttl=options.lease_ttl, counts=self.counts)
        self._feeder = Feeder(
            store, self._runners, self._held, check=lambda partition, page: self._takeover.check(partition, page),  # noqa: PLW0108 - it is made below
            reload=self._reload, changed=self._changed,
            set_apart=self._set_apart, write=self._places.write, poll_interval=options.poll_interval, counts=self.counts,
        )  # fmt: skip
        self._sampler = Sampler(store, self._id, self._runners, ports, self.counts)
        self.timekeeper = Timekeeper(store, options.schedules, ports.new_event_id, self._feeder.wake, self.counts)
        self._retries = Retries(store, self._settler, self._runners, self._held, self._changed, self.counts)
        archiving = ports.threads("holdfast-archive", 1)
        self._threads.append(archiving)
        self._chores = Chores(
            store, LettingGo(store, options.archive, self.counts, archiving, ports.new_event_id), retention=options.retention,
            warning=options.retention_warning, counts=self.counts, recount=self._recount_in_case,
        )  # fmt: skip
        self._takeover = TakeOver(
            store, self._settler, self._runners, suspects=self._suspects, mark_fast=self._mark_fast, recount=self._recount_blocked,
            spawn=self._spawn, ready=self._feeder.wake, counts=self.counts,
        )  # fmt: skip
        self._shared = Shared(
            store, self._settler, ports, bus, self.keeper, self._feeder.wake, self._retries.due_in,
            self._stop_with, options.breaker_waits, tracing, options.bound, self._part,
        )  # fmt: skip

    # What the keeper asks and tells

    @property
    def info(self) -> WorkerInfo:
        me, kept = self._me, self._options.retention
        tripped = tuple(known for known, runner in self._runners.items() if runner.is_tripped)
        return WorkerInfo(
            self._id, me.host, me.boot_id, me.pid, me.pid_started, __version__, tuple(self._runners), self._draining,
            tripped, math.inf if kept is None else kept, self._options.retention_warning,
        )  # fmt: skip

    @property
    def partition_counts(self) -> dict[int, int]:
        """How many there are to be shared; of a paused subscription none, so that an operator can move its cursors."""
        return {
            known: 0 if runner.record.paused else runner.record.partitions for known, runner in self._runners.items()
        }

    @property
    def epochs(self) -> dict[Slice, int]:
        return {partition.slice: partition.epoch for partition in self._partitions.values()}

    def acquired(self, leases: Iterable[Lease]) -> None:
        partitions = [Partition(lease) for lease in leases]
        self.counts.acquired += len(partitions)
        # A lease that runs out between its renewal and the look at what is free is taken anew by its own owner. What is
        # in hand under the epoch before must end first: the fence passes it over, and it would count as handled.
        mine = [one.slice for one in partitions if one.slice in self._partitions]
        self.lose({one: self._partitions[one].epoch for one in mine})
        for partition in partitions:
            self._partitions[partition.slice] = partition
        self._spawn(self._begin(partitions))

    def lose(self, epochs: Mapping[Slice, int]) -> None:
        """
        The leases of these epochs are over: what waits is dropped, what runs may write receipts only. One that was
        won back under a later epoch is not meant.
        """
        held = [self._partitions[one] for one in epochs if one in self._partitions]
        gone = [partition for partition in held if partition.epoch == epochs[partition.slice]]
        for partition in gone:
            del self._partitions[partition.slice]
            name = self._runners[partition.slice.subscription].record.name
            where = name, partition.slice.partition, partition.epoch
            logger.warning(
                "subscription %s, partition %d: the lease of epoch %d is over", *where, extra={"subscription": name}
            )
            partition.phase = Phase.LOST
            self.counts.lost += 1
            if partition.held:
                self._zombies[partition.slice] = partition
        self._drop([partition.slice for partition in gone])

    def give_back(self, slices: Iterable[Slice]) -> None:
        """Another worker should have these: end them and release them."""
        ending = [self._partitions[one] for one in slices if self._partitions[one].phase is not Phase.ENDING]
        for partition in ending:
            partition.phase = Phase.ENDING
        self.counts.given_back += len(ending)
        if ending:
            self._spawn(self._end(ending))

    def renewed(self) -> None:
        for runner in self._runners.values():
            runner.start()

    @property
    def work(self) -> dict[str, SubscriptionWork]:
        return standing(self._runners, self._partitions)

    def _part(self, subscription: int) -> float:
        """The part of a subscription's partitions that is held here; of one whose lease is being lost at least its own."""
        held = sum(one.subscription == subscription for one in self._partitions)
        return max(1, held) / self._runners[subscription].record.partitions

    # Life

    @property
    def is_quiet(self) -> bool:
        """Nothing is in hand, and the log was read to its end."""
        return (
            self._feeder.is_quiet
            and all(runner.held_now == 0 and not runner.waiting.aside for runner in self._runners.values())
            and all(
                partition.phase is Phase.FAST and all(one.waits for one in partition.deferred.values())
                for partition in self._partitions.values()
            )
        )

    @property
    def is_healthy(self) -> bool:
        """Every service of the worker runs, and the store takes outcomes."""
        return bool(self._services) and not any(task.done() for task in self._services) and self._settler.available

    def add(self, consumer: Consumer, record: Subscription) -> None:
        """Run one more subscription; those already running only get the new record."""
        if record.id in self._runners:
            self._runners[record.id].change(record)
        else:
            threads = self._ports.threads(f"holdfast-{consumer.name}", consumer.concurrency)
            self._threads.append(threads)
            kind = Runner if consumer.batch is None else BatchRunner
            self._runners[record.id] = kind(consumer, record, self._shared, threads)
        self._feeder.reroute()
        self.keeper.hurry()

    def start(self) -> None:
        """Begin to work, in the running loop."""
        services = (
            self.keeper.run(), self._feeder.run(), self._settler.run(), self._retries.run(), self._watch(),
            self._places.run(), self._chores.run(), self._sampler.run(),
            *([self.timekeeper.run()] if self._options.keeps_time else ()),
            self._store.listen(self._feeder.wake),
        )  # fmt: skip
        self._services = [self._task(service) for service in services]

    def wake(self, *, due: bool = False) -> None:
        """An event was stored by this process. *due*: the store's clock was moved, and something may be due."""
        self._feeder.wake()
        if due:
            self._retries.due_in(0.0)
            self.timekeeper.hurry()

    async def flush(self) -> None:
        """Write all outcomes and places so far."""
        self._places.advance(idle_too=True)
        await self._settler.flush()

    def halt(self) -> None:
        """Hand out nothing more; `stop` follows."""
        self._draining = True
        for runner in self._runners.values():
            runner.stop()

    async def stop(self, grace: float) -> None:
        """
        End: hand out nothing more, let running handlers finish within *grace* seconds, give everything back.

        What has not finished by then is cancelled and runs again elsewhere; no attempt is counted.
        """
        self.halt()
        keeper, feeder, _, retries, *_ = self._services
        async with self._retries.claiming:
            retries.cancel()
        await cancelled([feeder, retries])
        partitions = list(self._partitions.values())
        for partition in partitions:
            partition.phase = Phase.ENDING
        self._drop(None)
        if not await self._idle(grace):
            logger.warning("handlers still run after %.3g s of grace: they are cancelled and run again later", grace)
            for runner in self._runners.values():
                runner.abort()
            await self._idle(_ABORT_SECONDS)
        await cancelled([keeper])  # the leases were kept until here; what is released now must not be missed
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._settler.exclusively(lambda: self._release(partitions))
                await self._store.leave(self._id)
        except (HoldfastError, TimeoutError) as error:
            logger.warning("no goodbye: the leases run out by themselves: %s", error)
        await self.abort()

    async def abort(self) -> None:
        """End at once: nothing is written, leases run out, whoever comes next takes over carefully."""
        for runner in self._runners.values():
            runner.stop()
            runner.abort()
        tasks = [*self._services, *self._tasks]
        await cancelled(tasks)
        await self._feeder.close()  # a take-over may have opened its session again
        for threads in self._threads:
            threads.close()
        self._services = []

    async def _idle(self, seconds: float) -> bool:
        """Wait until no handler runs; False if some still does after so many seconds."""
        running = {task for runner in self._runners.values() for task in runner.running}
        if not running:
            return True
        _, pending = await asyncio.wait(running, timeout=seconds)
        return not pending

    def _stop_with(self, error: BaseException) -> None:
        self.cause = error
        self.stop_requested.set()

    # Parts of the work

    def _held(self) -> list[Partition]:
        return list(self._partitions.values())

    def _drop(self, slices: list[Slice] | None) -> None:
        for runner in self._runners.values():
            runner.waiting.drop(slices)

    async def _begin(self, partitions: list[Partition]) -> None:
        # Handlers that still run under the epoch before would be run again beside themselves.
        haunted = [partition for partition in partitions if partition.slice in self._zombies]
        for partition in haunted:
            self._spawn(self._begin_after_zombie(partition))
        await self._takeover.begin([one for one in partitions if one not in haunted], self._feeder.horizon)
        self._retries.due_in(0.0)

    async def _begin_after_zombie(self, partition: Partition) -> None:
        while (zombie := self._zombies.get(partition.slice)) is not None and zombie.held:  # noqa: ASYNC110 - rare
            await asyncio.sleep(_LOOK_SECONDS)
        self._zombies.pop(partition.slice, None)
        await self._begin([partition])

    async def _suspects(self, slices: Collection[Slice]) -> Sequence[Due]:
        async with self._retries.claiming:
            return await self._settler.exclusively(lambda: self._store.suspects(slices))

    async def _mark_fast(self, partition: Partition) -> None:
        with suppress(StoreUnavailable):  # the count of crashes only makes the next recovery more careful
            await self._store.mark_fast(self._id, {partition.slice: partition.epoch})

    async def _end(self, partitions: list[Partition]) -> None:
        async with self._retries.claiming:
            pass
        self._drop([partition.slice for partition in partitions])
        while partitions:
            ended = [partition for partition in partitions if not (partition.is_alive and partition.held)]
            partitions = [partition for partition in partitions if partition not in ended]
            if ended:  # none of them waits for the others' handlers
                await self._give_up(ended)
            else:
                await asyncio.sleep(_LOOK_SECONDS)
                # What stood behind a handler that has just ended: a paused runner comes to none of it.
                self._drop([partition.slice for partition in partitions])

    async def _give_up(self, partitions: list[Partition]) -> None:
        try:
            await self._settler.exclusively(lambda: self._release(partitions))
        except HoldfastError as error:
            logger.warning("partitions are not given back, their leases run out: %s", error)
        for partition in partitions:
            if self._partitions.get(partition.slice) is partition:
                del self._partitions[partition.slice]

    async def _release(self, partitions: Iterable[Partition]) -> None:
        if released := self._places.goodbye(partitions):
            await self._store.release(self._id, released)

    async def _reload(self) -> None:
        """The reading session is gone, and with it every snapshot in memory: back to what is persisted."""
        partitions = [one for one in self._partitions.values() if one.phase in (Phase.CHECKING, Phase.FAST)]
        if not partitions:
            return
        places = await self._store.places([partition.slice for partition in partitions])
        horizon = await self._feeder.horizon()
        for partition in partitions:
            if partition.is_alive and partition.slice in places:
                partition.restart(places[partition.slice], horizon)
        self._set_apart()
        self._retries.due_in(0.0)

    def _set_apart(self) -> None:
        """Defer the tenants that are paused, or aside; those that are not any more go on."""
        going_on: list[Deferred] = []
        for partition in self._partitions.values():
            if partition.phase in (Phase.CHECKING, Phase.FAST):
                going_on += partition.set_apart(self._runners[partition.slice.subscription].apart)
        for runner in self._runners.values():
            if runner.apart:
                runner.waiting.leave_deferred()
        if going_on:
            self._spawn(self._takeover.go_on(going_on, self._feeder.horizon))

    async def _changed(self) -> None:
        """Somebody registered, paused, replayed, retried or discarded: look at everything again."""
        records = {record.id: record for record in await self._store.subscriptions()}
        shared = self.partition_counts
        self._places.advance(idle_too=True)  # what was passed was passed by the patterns of that time
        for known, runner in self._runners.items():
            if (record := records.get(known)) is not None:
                runner.change(record)
        self._set_apart()
        self._feeder.reroute()
        if self.partition_counts != shared:  # what was paused is given back, what was resumed is taken
            self.keeper.hurry()
        await self._settler.exclusively(self._recount_blocked)
        self._retries.due_in(0.0)

    async def _recount_blocked(self) -> None:
        """Count the delivery rows that keys wait behind, while nothing is being written about them."""
        partitions = [one for one in self._partitions.values() if one.phase in (Phase.CHECKING, Phase.FAST)]
        if not partitions:
            return
        blocked = await self._store.blocked_keys([partition.slice for partition in partitions])
        for partition in partitions:
            partition.blocked = blocked.get(partition.slice, {})
        for item in self._settler.blocking():
            if item.key is not None:
                item.partition.block(item.key)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guard(work))
        task.add_done_callback(lambda _: work.close())  # cancelled before its first step, it would complain
        return task

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """A part of the worker that fails by a defect ends the worker, loudly: half a worker is worse than none."""
        try:
            await work
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            logger.critical("the worker fails and stops", exc_info=True)
            self._stop_with(error)

    async def _watch(self) -> None:
        while True:
            shortest = min((runner.consumer.timeout for runner in self._runners.values()), default=1.0)
            await asyncio.sleep(min(max(shortest / 4, 0.01), 0.5))
            now = self._ports.elapsed()
            for runner in self._runners.values():
                runner.expire(now)

    async def _recount_in_case(self) -> None:
        if any(partition.blocked for partition in self._partitions.values()):
            with suppress(HoldfastError):  # once more in a minute
                await self._settler.exclusively(self._recount_blocked)
