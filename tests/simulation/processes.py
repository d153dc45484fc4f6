"""A simulated process: a real `Worker`, a real `Publisher` and a real spool, on the simulated store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError, OutcomeUnknown, StoreUnavailable
from holdfast.event import from_micros
from holdfast.ports import Ports, ProcessIdentity
from holdfast.publisher import Publisher
from holdfast.spool import Spool
from holdfast.worker import Worker, WorkerOptions
from tests.simulation.handlers import consumer_of
from tests.simulation.loop import PROCESS, Process
from tests.simulation.spool_system import Killed, SimulatedSystem
from tests.simulation.threads import SimulatedThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from holdfast.event import NewEvent
    from holdfast.stores.values import Subscription
    from holdfast.subscription import Consumer
    from tests.simulation.subscriptions import Declared
    from tests.simulation.world import World

_GRACE = 1.0


class SimulatedProcess:
    """One life of a process; its *lineage* is what all its lives have in common, the spool's folder among it."""

    def __init__(self, world: World, lineage: str, pid: int) -> None:
        self.world, self.lineage, self.pid = world, lineage, pid
        self.process = Process(f"{lineage}#{pid}")
        self._context = Context()
        self._context.run(PROCESS.set, self.process)
        self.store = world.store_of(self.process)
        self.system = SimulatedSystem(world.random, world.faults.spool_breaks, lambda: world.kill(self))
        self.spool = Spool(world.folder / lineage, limit=2**16, system=self.system)
        self.threads = SimulatedThreads(world.random)
        self.publisher = Publisher(
            self.store, self._prepare, self.spool, in_thread=_in_thread, timeout=0.3, stored=self._stored,
            now=lambda: from_micros(int(world.wall() * 1e6)),
        )  # fmt: skip
        self.worker: Worker | None = None
        self.records: dict[str, Subscription] = {}
        self._consumers: dict[str, Consumer] = {}
        self._stopping = False
        self._declaring = 0

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run *work* in this process: it vanishes with it."""
        task: asyncio.Task[Any] = self._context.run(self.world.loop.create_task, work)
        return task

    @property
    def is_idle(self) -> bool:
        """Nothing of it is left to be stored, nor to be declared."""
        return self.publisher.spool_depth == 0 and self._declaring == 0

    async def live(self) -> None:
        """Start, work until a handler ends the process, and stop."""
        try:
            await self.publisher.open()
            await self._persistently(self._start)
            assert self.worker is not None
            await self.worker.stop_requested.wait()
            if not self._stopping:
                await self.stop()
                self.world.exited(self)
        except Killed:
            return

    async def _start(self) -> None:
        await self._prepare()
        self.worker = Worker(self.store, self._options(), bus=self, ports=self._ports())
        for name, record in self.records.items():
            self.worker.add(self._consumers[name], record)
        self.worker.start()

    def _options(self) -> WorkerOptions:
        return WorkerOptions(
            self.world.lease_ttl, self.world.poll_interval, None, self.world.size.breaker_waits, self.world.bound,
            keeps_time=False,
        )  # fmt: skip

    def _ports(self) -> Ports:
        world, offset = self.world, self.world.faults.skew * self.world.random.random()
        return Ports(
            elapsed=lambda: world.loop.time() + offset, random=world.random.random, new_worker_id=world.new_id,
            new_event_id=world.new_id, identity=self._identity, process_started=world.process_started,
            threads=lambda _name, _limit: self.threads, wall_micros=lambda: round(world.loop.time() * 1e6),
        )  # fmt: skip

    def _identity(self) -> ProcessIdentity:
        host = "host" if self.world.faults.one_host else self.lineage
        return ProcessIdentity(host, "boot", self.pid, "then")

    async def declare(self, declared: Declared) -> None:
        """Declare one more subscription, now."""
        self._declaring += 1
        await self._persistently(partial(self._declare, declared))
        self._declaring -= 1

    async def _prepare(self) -> None:
        """What `holdfast.live.Live.prepare` does: register what is declared, once."""
        for declared in self.world.declared_by_now():
            if declared.name not in self.records:
                await self._declare(declared)

    async def _declare(self, declared: Declared) -> None:
        await self.store.open()
        consumer = consumer_of(self, declared)
        (record,) = await self.store.register([consumer.declaration])
        if declared.name in self.records:
            return  # declared by a publish meanwhile
        self.records[declared.name], self._consumers[declared.name] = record, consumer
        if self.worker is not None:
            self.worker.add(consumer, record)

    def is_tripped(self, subscription: int) -> bool:
        """Whether the breaker of a subscription is open here."""
        runner = None if self.worker is None else self.worker._runners.get(subscription)
        return runner is not None and runner.is_tripped

    async def _persistently(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
            except StoreUnavailable:
                await asyncio.sleep(0.2)
            else:
                return

    def _stored(self) -> None:
        if self.worker is not None:
            self.worker.wake()

    async def publish(self, *events: NewEvent, atomic: bool = False) -> None:
        """Publish as a bus does, and note what came of it."""
        history = self.world.history
        notes = [history.invoke(event, self.lineage, "bus", self.process) for event in events]
        outcome = "unknown"
        try:
            await self.publisher.publish(events, atomic=atomic)
            outcome = "ok"
        except OutcomeUnknown:
            pass
        except HoldfastError:
            outcome = "failed"
        finally:
            if self.process.alive:
                for note in notes:
                    history.ended(note, outcome)

    async def stop(self) -> None:
        """Say goodbye."""
        self._stopping = True
        if self.worker is not None:
            self.worker.halt()
            await self.worker.stop(_GRACE)
            self.worker.stop_requested.set()
        await self.publisher.close()

    def leftovers(self) -> list[asyncio.Task[Any]]:
        """Tasks that still run after the goodbye."""
        return [task for task in self.process.tasks if not task.done()]

    def vanish(self) -> None:
        """SIGKILL: nothing of it runs any more, and the kernel closes its files."""
        self.process.kill()
        self.world.close_files(self.store)
        with suppress(OSError):
            self.system.end_of_process()


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    await asyncio.sleep(0.0005)
    return function(*arguments)
