"""Leases: heartbeat, renewal, fair share, and the guard that is checked before every hand-out."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

from holdfast.errors import HoldfastError
from holdfast.worker.outage import Outage
from holdfast.worker.plans import dead_neighbours, plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.counts import WorkerCounts
    from holdfast.ports import Ports
    from holdfast.stores.base import Store
    from holdfast.stores.values import Lease, Slice, WorkerInfo

_TICK_MAX = 1.0


class Holder(Protocol):
    """What the keeper needs of the worker."""

    @property
    def info(self) -> WorkerInfo: ...
    @property
    def partition_counts(self) -> Mapping[int, int]: ...
    @property
    def epochs(self) -> Mapping[Slice, int]: ...
    def acquired(self, leases: Iterable[Lease]) -> None: ...
    def lose(self, epochs: Mapping[Slice, int]) -> None: ...
    def give_back(self, slices: Iterable[Slice]) -> None: ...
    def renewed(self) -> None: ...


class Keeper:
    """Keeps this worker's leases alive and its share fair.

    Args:
        store: Where leases are.
        holder: The worker.
        ports: Clock and process table.
        ttl: Seconds that a lease lasts without renewal.
        counts: The worker's.
    """

    def __init__(
        self, store: Store, holder: Holder, ports: Ports, *, ttl: float, counts: WorkerCounts | None = None
    ) -> None:
        self._store, self._holder, self._ports, self._ttl = store, holder, ports, ttl
        self.valid_until = 0.0
        """Until when the leases last, by a clock counted from before the last renewal was sent."""
        self._heard = math.inf  # when the store has last answered
        self._was_silent = False
        self._patient_until = -math.inf
        self._soon = asyncio.Event()
        self._outage = Outage("leases cannot be kept now", "leases are kept", counts)

    def hurry(self) -> None:
        """Look again at once."""
        self._soon.set()

    async def run(self) -> None:
        """Tick until cancelled: several times within a lease, at least once a second, whatever of it is due."""
        pause = min(self._ttl / 4, _TICK_MAX)
        while True:
            try:
                await self.tick()
            except HoldfastError as error:
                self._outage.met(error)
            else:
                self._outage.over()
            try:
                async with asyncio.timeout(pause):
                    await self._soon.wait()
            except TimeoutError:
                pass
            self._soon.clear()

    async def tick(self) -> None:
        """One round: renew what is due, tell the others, take or give back."""
        holder = self._holder
        await self._renew(dict(holder.epochs))
        holder.renewed()
        epochs = dict(holder.epochs)
        roster = await self._store.heartbeat(holder.info, ttl=max(self._ttl, 3 * _TICK_MAX))
        self._look_at_the_silence()
        others = {lease.slice for lease in roster.leases if lease.owner not in (None, holder.info.id)}
        if gone := {one: epoch for one, epoch in epochs.items() if one in others}:
            holder.lose(gone)
        dead = dead_neighbours(holder.info, roster.workers, self._ports.process_started)
        if not holder.epochs:
            dead |= {holder.info.id}  # leases of its own that it does not know of: the answer to an acquire was lost
        held: dict[int, tuple[Slice, ...]] = {}
        for one in holder.epochs:
            held[one.subscription] = (*held.get(one.subscription, ()), one)
        wish = plan(holder.info.id, roster, held, holder.partition_counts, dead)
        if wish.give_back:
            holder.give_back(wish.give_back)
        if wish.acquire and not holder.info.draining:
            patient = self._ports.elapsed() < self._patient_until
            leases = await self._store.acquire(
                holder.info.id, wish.acquire, ttl=self._ttl, dead=wish.dead, patient=patient
            )
            if leases:
                holder.acquired(leases)

    def _look_at_the_silence(self) -> None:
        """
        What kept us from the store for as long as a lease lasts may have kept the others: they get a few rounds to say
        that they live. Only once, or a store that is always slow would keep what has run out from being taken.
        """
        now = self._ports.elapsed()
        is_silent = now - self._heard > self._ttl
        if is_silent and not self._was_silent:
            self._patient_until = now + 2 * _TICK_MAX
        self._heard, self._was_silent = now, is_silent

    async def _renew(self, epochs: Mapping[Slice, int]) -> None:
        """Each renewal writes a row for each lease, so not in every round: once a quarter of their time is over."""
        sent = self._ports.elapsed()
        if epochs and sent < self.valid_until - 0.75 * self._ttl:
            return
        if epochs:
            kept = await self._store.renew(self._holder.info.id, epochs, ttl=self._ttl)
            if gone := {one: epoch for one, epoch in epochs.items() if one not in kept}:
                self._holder.lose(gone)
        self.valid_until = sent + self._ttl
