"""What a worker has counted for each subscription, and how that stands: for whoever looks. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from holdfast.counts import SubscriptionWork

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.stores.values import Slice
    from holdfast.worker.runner import Runner


def standing(runners: Mapping[int, Runner], held: Iterable[Slice]) -> dict[str, SubscriptionWork]:
    """By name of subscription; *held*: the partitions whose leases the worker has."""
    owned = Counter(one.subscription for one in list(held))  # copied at once: who looks may be in another thread
    return {
        runner.record.name: SubscriptionWork(runner.counts, owned[known], runner.held_now, runner.is_tripped)
        for known, runner in list(runners.items())
    }
