"""Once a minute: what a worker has counted since the last time. Pure, but for what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.counts import SubscriptionCounts
from holdfast.stores.values import Sampled

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE_MICROS = 60_000_000


class Sampler:
    """Makes samples of counts that only grow."""

    def __init__(self) -> None:
        self._written: dict[int, Sampled] = {}
        self._offered: dict[int, Sampled] = {}

    def since_written(self, counts: Mapping[int, SubscriptionCounts]) -> list[Sampled]:
        """What was counted since the samples before were `written`, of the subscriptions for which anything was."""
        self._offered = {subscription: totals(subscription, of_it) for subscription, of_it in counts.items()}
        samples = []
        for subscription, now in self._offered.items():
            before = self._written.get(subscription) or totals(subscription, SubscriptionCounts())
            if now != before:
                samples.append(difference(now, before))
        return samples

    def written(self) -> None:
        """The store has what was offered last."""
        self._written = self._offered


def totals(subscription: int, counts: SubscriptionCounts) -> Sampled:
    """All that was ever counted for a subscription."""
    return Sampled(
        subscription, counts.delivered, counts.failed, counts.retried, counts.dead, tuple(counts.durations.buckets)
    )


def difference(now: Sampled, before: Sampled) -> Sampled:
    """What came between two totals."""
    return Sampled(
        now.subscription, now.delivered - before.delivered, now.failed - before.failed, now.retried - before.retried,
        now.dead - before.dead, tuple(a - b for a, b in zip(now.durations, before.durations, strict=True)),
    )  # fmt: skip


def seconds_to_the_minute(micros: int) -> float:
    """From a time of the wall clock, in microseconds, to the next full minute."""
    return (_MINUTE_MICROS - micros % _MINUTE_MICROS) / 1_000_000
