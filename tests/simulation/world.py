"""All that one run consists of: a loop, a server, a network, processes, and the seed that decides everything."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from functools import cached_property
from math import inf
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.event import NewEvent
from holdfast.ids import uuid7
from holdfast.worker.hand import BOUND
from tests.simulation.history import History
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import NOBODY, Network, NetworkWire
from tests.simulation.processes import SimulatedProcess
from tests.simulation.server import Server
from tests.simulation.size import SMALL
from tests.simulation.store import SimulatedStore
from tests.simulation.store_leases import is_over
from tests.simulation.subscriptions import Declared, draw_limits, draw_subscriptions
from tests.simulation.weather import CALM, Sky, draw_faults
from tests.simulation.wire import DirectWire
from tests.simulation.workload import publish_with_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from holdfast.event import Event
    from holdfast.stores.values import Slice
    from tests.simulation.loop import Process
    from tests.simulation.server import Effect
    from tests.simulation.size import Size

TENANTS = ("acme", "bell")

_BEGIN = 1_800_000_000.0
"""Seconds since 1970 at which every run begins."""


class World:
    """
    One run. Everything that is drawn is drawn from *seed* within *size*, in the order in which it happens.

    Attributes:
        random: What happens.
        faults: What may go wrong.
        declared: The subscriptions.
        lives: The process that lives now, by lineage.
        dead: All processes that have ended.
    """

    def __init__(self, seed: int, size: Size = SMALL) -> None:
        self.seed, self.size = seed, size
        self.random = Random(seed)
        self.faults = draw_faults(self.random, size.pace)
        self.declared: list[Declared] = draw_subscriptions(self.random, size)
        self.lease_ttl = self.random.choice(size.lease_ttls)
        self.poll_interval = self.random.choice(size.poll_intervals)
        self.page_events = self.random.choice((2, 5, 1000))
        self.loop = SimulatedLoop(Random(seed + 1), disorder=self.faults.disorder)
        self.history = History()
        self.clock_step = 0.0
        self.server = Server(self.server_time, self.history.numbers)
        self.sky = Sky(Random(seed + 2), self.faults.weather)
        self.network = Network(self.loop, self.server, self.sky, self.trace)
        self.lives: dict[str, SimulatedProcess] = {}
        self.dead: list[SimulatedProcess] = []
        self.lineages = 0
        self.is_healing = False
        self.settled: float = inf
        """The number of what happened last before everybody was told to stop."""
        self.operator = SimulatedStore(self.server, DirectWire())
        self.leftovers: list[str] = []
        self.tenants_random = Random(seed + 4)
        self.pauses_tenants = self.tenants_random.random() < 0.3
        """Whether there are two tenants, and operators pause one of them at times."""
        self.bound = self.tenants_random.choice((4, 8, BOUND)) if self.pauses_tenants else BOUND
        if self.pauses_tenants:
            limits_random = Random(seed + 5)
            for one in self.declared:
                one.options["limits"] = draw_limits(limits_random, one)
        self.last_death = 0.0
        """When a process ended last, or everything was healed: from then on the lag has to go."""
        self.log: list[tuple[Any, ...]] = []
        self._asked: dict[tuple[str, bytes], int] = {}
        self._pids = 100
        self._ids = Random(seed + 3)

    @cached_property
    def folder(self) -> Path:
        memory = Path("/dev/shm")
        return Path(tempfile.mkdtemp(prefix="holdfast-simulation-", dir=memory if memory.is_dir() else None))

    # Clocks, ids, and what is written down

    def wall(self) -> float:
        return _BEGIN + self.loop.time()

    def server_time(self) -> float:
        return _BEGIN + self.loop.time() + self.clock_step

    def new_id(self) -> UUID:
        return uuid7(int(self.wall() * 1000), self._ids.randbytes(10))

    def trace(self, *facts: Any) -> None:
        self.log.append((self.loop.time(), *facts))

    # Events

    def new_event(self, key: str | None, name: str = "order.placed", cause: bytes | None = None) -> NewEvent:
        headers = None if cause is None else msgspec.json.encode({"causation_id": str(UUID(bytes=cause))})
        tenant = TENANTS[self.pauses_tenants and key in {None, "c"}]
        return NewEvent(self.new_id(), tenant, name, key, b"{}", headers)

    def follower(self, event: Event, subscription: str) -> NewEvent:
        """What the handler of *subscription* publishes because of *event*."""
        return self.new_event(event.key, f"follow.{subscription}", event.row.id)

    def times_before(self, subscription: str, event_id: bytes) -> int:
        """How often a handler has asked this of the delivery before."""
        before = self._asked.get((subscription, event_id), 0)
        self._asked[subscription, event_id] = before + 1
        return before

    # What another store does in another way

    lends_transactions = True
    """Whether programs publish through connections of their own."""

    def store_of(self, process: Process) -> Any:
        """A process' own way to the store."""
        return SimulatedStore(self.server, NetworkWire(self.network, process), page_events=self.page_events)

    def close_files(self, store: Any) -> None:
        """The kernel closes what a process had open of the store: here it has no files."""

    def write_effect(self, connection: Any, effect: Effect) -> None:
        """What a transactional handler writes."""
        connection.effect(effect)

    def publish_with_sql(self, count: int) -> Coroutine[Any, Any, None]:
        return publish_with_sql(self, count)

    # Processes

    def start(self, lineage: str) -> SimulatedProcess:
        self._pids += 1
        one = self.lives[lineage] = SimulatedProcess(self, lineage, self._pids)
        self.trace(one.process.name, "starts")
        one.spawn(one.live())
        return one

    def kill(self, one: SimulatedProcess) -> None:
        """SIGKILL; somebody starts it again in a moment."""
        if one.process.alive:
            self.trace(one.process.name, "killed")
            self._ended(one)

    def exited(self, one: SimulatedProcess) -> None:
        """It ended by itself; it, too, is started again."""
        self.trace(one.process.name, "exits")
        self._ended(one)

    def _ended(self, one: SimulatedProcess) -> None:
        one.vanish()
        self.later(self.random.choice((0.0, 0.3)), self.network.disconnect, one.process)
        self.dead.append(one)
        self.last_death = self.loop.time()
        del self.lives[one.lineage]
        self.later(0.1 + 0.5 * self.random.random(), self.start, one.lineage)

    def later(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        """Outside of all processes: one that kills itself must not take with it what comes of that."""
        self.loop.call_later(seconds, callback, *args, context=NOBODY)

    def process_started(self, pid: int) -> str | None:
        """The process table of the host that all share, if they do."""
        return "then" if any(one.pid == pid for one in self.lives.values()) else None

    def declared_by_now(self) -> Iterable[Declared]:
        return [one for one in self.declared if one.declared_at <= self.loop.time()]

    # Leases, as the server knows them

    def is_live(self, slice_: Slice, epoch: int) -> bool:
        """Whether it is its owner's: also where a late acquire of its own has given it another epoch, which nobody told."""
        row = self.server.tables.leases.get(slice_)
        if row is None or is_over(row, self.server.clock()):
            return False
        taken = (fact.about for fact in self.server.facts if fact.what == "acquired")
        return row.epoch == epoch or any(
            (one.slice, one.epoch, one.worker) == (slice_, epoch, row.owner) for one in taken
        )

    # The end

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.is_healing = True
        self.last_death = self.loop.time()
        self.sky.weather = CALM
        self.server.up = True
        for one in self.lives.values():
            one.process.resume(self.loop)
            one.system.chance = 0.0
        self.trace("healed")

    def close(self) -> None:
        for one in (*self.dead, *self.lives.values()):
            self.loop.bury(one.process.tasks)
            with suppress(OSError):
                one.system.end_of_process()
        if "folder" in self.__dict__:
            shutil.rmtree(self.folder, ignore_errors=True)
