"""
What is counted while events are published and handled: plain integers, which only grow.

Whoever works adds to them, in one thread and without a lock; whoever looks (`holdfast.telemetry`, the worker's samples)
reads them as they are. Where the engine works on many events at once, so does the counting.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 3600.0,
)  # fmt: skip
"""Bounds of all histograms of seconds. Samples keep counts by them: other bounds need a step of the schema."""

SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)
"""Bounds of all histograms of how many go together."""


class Histogram:
    """How many values lay within which bounds, each upper one included; and their sum.

    Args:
        bounds: Ascending. What is beyond the last one is counted by itself.
    """

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.buckets, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """Count one value; below zero, as clocks that differ make it, it is taken for zero."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        if value > 0:
            self.total += value

    def add_all(self, values: Sequence[float]) -> None:
        """What `add` does, for many, of which most lie within the same bounds."""
        bounds, lowest = self.bounds, min(values)
        first, last = bisect_left(bounds, lowest), bisect_left(bounds, max(values))
        counted = 0
        if first < last:
            ordered = sorted(values)
            for place in range(first, last):
                below = bisect_right(ordered, bounds[place])
                self.buckets[place] += below - counted
                counted = below
        self.buckets[last] += len(values) - counted
        self.total += sum(values) if lowest >= 0 else sum(value for value in values if value > 0)


def quantile(bounds: Sequence[float], buckets: Sequence[int], share: float) -> float | None:
    """
    The value that a *share* (0 to 1) of those counted do not exceed, as far as the buckets tell: between the bounds of
    its bucket in proportion, and the last bound for what lies beyond. None where nothing was counted.
    """
    wanted, before, lower = share * sum(buckets), 0, 0.0
    if not any(buckets):
        return None
    for upper, count in zip(bounds, buckets, strict=False):
        if count and before + count >= wanted:
            return lower + (upper - lower) * (wanted - before) / count
        before, lower = before + count, upper
    return lower


class SubscriptionCounts:
    """
    What a worker has done for one subscription.

    Attributes:
        delivered: Events whose handler returned.
        failed: Attempts that did not succeed, the last one of a dead letter included.
        retried: Those after which the event is tried again.
        put_off: Attempts that ended with `Retry`.
        dead: Events that were given up.
        durations: Seconds that calls of the handler took, failed ones too; one of a batch handler counts once.
        latencies: Seconds from an event's `occurred_at` to its first attempt, where that succeeded.
    """

    __slots__ = ("dead", "delivered", "durations", "failed", "latencies", "put_off", "retried")

    def __init__(self) -> None:
        self.delivered = self.failed = self.retried = self.put_off = self.dead = 0
        self.durations, self.latencies = Histogram(SECONDS), Histogram(SECONDS)


class WorkerCounts:
    """
    What a worker has done for all its subscriptions together.

    Attributes:
        acquired, lost, given_back: Leases of partitions.
        store_errors: Times that a part of the worker was refused or not answered by the store.
        batches: Outcomes that were written in one transaction.
        blocking: Names of the subscriptions that kept events beyond their retention, when that was last looked at.
        near_retention: Of those that will have to let go of events soon.
        let_go: Events that this worker has let go of, by subscription.
    """

    __slots__ = (
        "acquired", "batches", "blocking", "given_back", "let_go", "lost", "near_retention", "store_errors",
    )  # fmt: skip

    def __init__(self) -> None:
        self.blocking: tuple[str, ...] = ()
        self.near_retention: tuple[str, ...] = ()
        self.let_go: dict[str, int] = {}
        self.acquired = self.lost = self.given_back = self.store_errors = 0
        self.batches = Histogram(SIZES)


class PublisherCounts:
    """
    What this process has published.

    Attributes:
        stored: Events that the store took.
        duplicates: Events that were there already, with the same id and content.
        spooled: Events that went to the spool; they are not counted again when they leave it.
        joined: Events that went through a transaction of the caller, which may have rolled back.
        over_quota: Events that were refused, as their tenant had published as much as it may.
        store_errors: Times that the store did not answer, or could not be reached.
        batches: Events that were stored in one transaction.
    """

    __slots__ = ("batches", "duplicates", "joined", "over_quota", "spooled", "store_errors", "stored")

    def __init__(self) -> None:
        self.stored = self.duplicates = self.spooled = self.joined = self.over_quota = self.store_errors = 0
        self.batches = Histogram(SIZES)


class RelayCounts:
    """
    What a relay has done with its broker.

    Attributes:
        sent: Messages that the broker has acknowledged; one that was sent again counts again.
        refused: Messages that it would not have.
        outages: Times that a batch had to wait, because the broker was away or refused everything.
        is_away: Whether the last batch had to.
        durations: Seconds in which it acknowledged a batch.
        batches: Messages in one batch.
    """

    __slots__ = ("batches", "durations", "is_away", "outages", "refused", "sent")

    def __init__(self) -> None:
        self.sent = self.refused = self.outages = 0
        self.is_away = False
        self.durations, self.batches = Histogram(SECONDS), Histogram(SIZES)


class IngestCounts:
    """
    What an ingest has taken from its broker.

    Attributes:
        stored: Messages that became events here.
        duplicates: Messages whose event was there already, with the same content.
        refused: Messages that can be no event; each is kept as an event ``holdfast.ingest.refused``.
        passed_over: Messages of a transport that were published here, or that no subscription listens to.
        outages: Times that the broker was away or refused us.
        is_away: Whether it is, as far as we know.
        waiting: Messages that a transport's broker had for this worker when it sent the last one; None: it does not say.
        batches: Messages that were stored in one transaction.
    """

    __slots__ = ("batches", "duplicates", "is_away", "outages", "passed_over", "refused", "stored", "waiting")

    def __init__(self) -> None:
        self.stored = self.duplicates = self.refused = self.passed_over = self.outages = 0
        self.is_away = False
        self.waiting: int | None = None
        self.batches = Histogram(SIZES)


class InboxCounts:
    """
    What an inbox has done with the webhooks of one source.

    Attributes:
        stored: Webhooks that became events here.
        spooled: Webhooks that went to the spool, as the store was away.
        duplicates: Webhooks whose event was there already.
        refused: The others, by the reason that the answer's status stands for.
    """

    __slots__ = ("duplicates", "refused", "spooled", "stored")

    def __init__(self, reasons: Iterable[str]) -> None:
        self.stored = self.spooled = self.duplicates = 0
        self.refused = dict.fromkeys(reasons, 0)


class FeedCounts:
    """
    What a bus's feed has done.

    Attributes:
        readers: Those that read now.
        sent: Events that were sent; one that two readers got counts twice.
        refused: Requests that did not become a reader, by the reason that the answer's status stands for.
    """

    __slots__ = ("readers", "refused", "sent")

    def __init__(self, reasons: Iterable[str]) -> None:
        self.readers = self.sent = 0
        self.refused = dict.fromkeys(reasons, 0)


@dataclass(frozen=True, slots=True)
class SubscriptionWork:
    """A subscription in a worker's hands: what was counted, and how it stands now."""

    counts: SubscriptionCounts
    partitions: int  # whose leases the worker holds
    in_hand: int  # events that wait, run, or are not yet written
    is_tripped: bool  # its breaker holds it up


@dataclass(frozen=True, slots=True)
class BusCounts:
    """
    What a bus has counted since it was first used in this process, and how it stands now.

    Attributes:
        store: Where its events are: no password, the same in every process.
        worker: None where no worker runs here.
        subscriptions: By name; empty where no worker runs here.
        relays, ingests: By name: those that the bus declares.
        inboxes: By source, for all inboxes that publish through the bus; ``?`` for sources that there are not.
        feed: None where no feed was made for the bus.
    """

    store: str
    publisher: PublisherCounts
    spool_depth: int  # events that are not in the store yet
    worker: WorkerCounts | None
    subscriptions: Mapping[str, SubscriptionWork]
    relays: Mapping[str, RelayCounts] = field(default_factory=dict)
    ingests: Mapping[str, IngestCounts] = field(default_factory=dict)
    inboxes: Mapping[str, InboxCounts] = field(default_factory=dict)
    feed: FeedCounts | None = None
