"""Once a minute the store is told what this worker has counted since the last time, and asked how far all are behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.counts import SubscriptionCounts
from holdfast.errors import HoldfastError
from holdfast.stores.values import Sampled
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from holdfast.counts import WorkerCounts
    from holdfast.ports import Ports
    from holdfast.stores.base import Store
    from holdfast.worker.runner import Runner

_MINUTE_MICROS = 60_000_000


class Sampler:
    """Writes samples at full minutes, so that those of all workers are of the same ones, until it is cancelled.

    Args:
        store: Where samples are kept.
        worker: Who writes them.
        runners: By subscription id; the worker's own mapping, which changes.
        ports: The wall clock.
        counts: The worker's.
    """

    def __init__(
        self, store: Store, worker: UUID, runners: Mapping[int, Runner], ports: Ports, counts: WorkerCounts
    ) -> None:
        self._store, self._worker, self._runners, self._ports = store, worker, runners, ports
        self._outage = Outage("samples wait", "samples are written", counts)
        self._written: dict[int, Sampled] = {}

    async def run(self) -> None:
        # The first one, of nothing, says where the log stood: what is published from here on is known.
        while True:
            try:
                await self._write()
            except HoldfastError as error:
                self._outage.met(error)
            else:
                self._outage.over()
            await asyncio.sleep(seconds_to_the_minute(self._ports.wall_micros()))

    async def _write(self) -> None:
        now = {known: total(known, runner.counts) for known, runner in self._runners.items()}
        await self._store.add_samples(self._worker, since(self._written, now))
        self._written = now
        await self._store.add_lags(self._worker)


def total(subscription: int, counts: SubscriptionCounts) -> Sampled:
    """All that was ever counted for a subscription."""
    return Sampled(
        subscription, counts.delivered, counts.failed, counts.retried, counts.dead, tuple(counts.durations.buckets)
    )


def since(before: Mapping[int, Sampled], now: Mapping[int, Sampled]) -> list[Sampled]:
    """What came between two totals, of those subscriptions for which anything did."""
    return [
        difference(later, earlier)
        for subscription, later in now.items()
        if later != (earlier := before.get(subscription) or total(subscription, SubscriptionCounts()))
    ]


def difference(now: Sampled, before: Sampled) -> Sampled:
    return Sampled(
        now.subscription, now.delivered - before.delivered, now.failed - before.failed, now.retried - before.retried,
        now.dead - before.dead, tuple(a - b for a, b in zip(now.durations, before.durations, strict=True)),
    )  # fmt: skip


def seconds_to_the_minute(micros: int) -> float:
    """From a time of the wall clock, in microseconds, to the next full minute."""
    return (_MINUTE_MICROS - micros % _MINUTE_MICROS) / 1_000_000
