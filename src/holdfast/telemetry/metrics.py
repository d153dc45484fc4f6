"""Which metrics there are, in one table, and their values now. Pure, but for asking the store."""

from __future__ import annotations

import asyncio
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple

from holdfast.counts import Histogram
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.counts import BusCounts, FeedCounts, InboxCounts, IngestCounts, RelayCounts, SubscriptionWork
    from holdfast.stores.inspector import Inspector
    from holdfast.stores.records import SubscriptionStatus

_ANSWER_SECONDS = 5.0
LAG_MAX = 5_000
"""Events up to which a lag is counted: it is asked for every few seconds."""


class Metric(NamedTuple):
    """What is told of one thing. Counters are named without ``_total``, which the text format adds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]


class Figure(NamedTuple):
    """A metric's value for one set of labels, given in the order of the metric's own."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Histogram


_STORE, _SUBSCRIPTION = ("store",), ("store", "subscription")

PUBLISHED = Metric(
    "holdfast_published_events", "counter",
    "Events this process published. where: store; spool, not counted again when they leave it; transaction of the "
    "caller, which may have rolled back.", ("store", "where"),
)  # fmt: skip
DUPLICATES = Metric(
    "holdfast_duplicate_events", "counter",
    "Events this process published that were in the store already, with the same id and content.", _STORE,
)  # fmt: skip
OVER_QUOTA = Metric(
    "holdfast_over_quota_events", "counter",
    "Events this process refused to publish, as their tenant had published as much as its quota lets in.", _STORE,
)  # fmt: skip
PUBLISH_BATCH = Metric("holdfast_publish_batch_events", "histogram", "Events stored in one transaction.", _STORE)
SPOOL = Metric(
    "holdfast_spool_events", "gauge", "Events in this process's spool that are not in the store yet.", _STORE
)
STORE_ERRORS = Metric(
    "holdfast_store_errors", "counter", "Times that the store did not answer or refused. part: publisher, worker.",
    ("store", "part"),
)  # fmt: skip
LEASE_CHANGES = Metric(
    "holdfast_lease_changes", "counter", "Leases of partitions this worker acquired, lost, or gave back.",
    ("store", "change"),
)  # fmt: skip
SETTLE_BATCH = Metric("holdfast_settle_batch_events", "histogram", "Outcomes written in one transaction.", _STORE)
DELIVERED = Metric("holdfast_delivered_events", "counter", "Events whose handler returned here.", _SUBSCRIPTION)
FAILED = Metric("holdfast_failed_attempts", "counter", "Attempts that failed here, the last ones too.", _SUBSCRIPTION)
RETRIED = Metric(
    "holdfast_retried_attempts", "counter", "Failed attempts after which the event is tried again.", _SUBSCRIPTION
)
PUT_OFF = Metric(
    "holdfast_put_off_attempts", "counter", "Attempts that ended with Retry, or as a probe of the breaker.",
    _SUBSCRIPTION,
)  # fmt: skip
DEAD = Metric("holdfast_dead_events", "counter", "Events that were given up here.", _SUBSCRIPTION)
DURATION = Metric(
    "holdfast_handler_duration_seconds", "histogram",
    "How long calls of the handler took, failed ones too. A batch handler's call counts once.", _SUBSCRIPTION,
)  # fmt: skip
LATENCY = Metric(
    "holdfast_publish_to_handler_seconds", "histogram",
    "From an event's occurred_at to its first attempt, where that succeeded, by the clock of this machine.",
    _SUBSCRIPTION,
)  # fmt: skip
IN_HAND = Metric("holdfast_in_hand_events", "gauge", "Events this worker has read and not settled yet.", _SUBSCRIPTION)
OWNED = Metric("holdfast_owned_partitions", "gauge", "Partitions whose lease this worker holds.", _SUBSCRIPTION)
BREAKER = Metric("holdfast_breaker_open", "gauge", "1 while the breaker holds the subscription up here.", _SUBSCRIPTION)

BLOCKS_RETENTION = Metric(
    "holdfast_blocks_retention", "gauge",
    "1 while it keeps events beyond their retention, as this worker found when it last looked: about once a minute.",
    _SUBSCRIPTION,
)  # fmt: skip

NEAR_RETENTION = Metric(
    "holdfast_near_retention", "gauge",
    "1 while it will soon have to let go of events that it has not handled, as this worker found when it last looked.",
    _SUBSCRIPTION,
)  # fmt: skip
LET_GO = Metric(
    "holdfast_let_go_events", "counter", "Events beyond retention, not handled, that this worker archived or dropped.",
    _SUBSCRIPTION,
)  # fmt: skip

_BROKER = ("store", "way", "name")
RELAYED = Metric(
    "holdfast_relayed_messages", "counter",
    "Messages handed to a broker here. outcome: sent, again too where it was sent again; refused by the broker.",
    ("store", "subscription", "outcome"),
)  # fmt: skip
RELAY_DURATION = Metric(
    "holdfast_relay_duration_seconds", "histogram", "How long the broker took to acknowledge a batch.", _SUBSCRIPTION
)
INGESTED = Metric(
    "holdfast_ingested_messages", "counter",
    "Messages taken from a broker here. outcome: stored; duplicate, stored before; refused, and kept as an event; "
    "passed over, by a transport.",
    ("store", "ingest", "outcome"),
)  # fmt: skip
INGEST_WAITING = Metric(
    "holdfast_ingest_waiting_messages", "gauge",
    "Messages that a transport's broker had for this worker, as it said with the last one.", ("store", "ingest"),
)  # fmt: skip
BROKER_OUTAGES = Metric(
    "holdfast_broker_outages", "counter",
    "Times that a broker could not be reached, or refused everything. way: relay, ingest.", _BROKER,
)  # fmt: skip
BROKER_AWAY = Metric(
    "holdfast_broker_away", "gauge", "1 while a relay or an ingest waits for its broker here.", _BROKER
)

WEBHOOKS = Metric(
    "holdfast_webhooks", "counter",
    "Webhooks an inbox took in here. outcome: stored; spool; duplicate, stored before.", ("store", "source", "outcome"),
)  # fmt: skip
REFUSED_WEBHOOKS = Metric(
    "holdfast_refused_webhooks", "counter",
    "Webhooks an inbox refused here. source: ? where there is no such one. reason: malformed, signature, no such source, "
    "no POST, timeout, conflict, too large, not now.", ("store", "source", "reason"),
)  # fmt: skip
FEED_READERS = Metric("holdfast_feed_readers", "gauge", "Readers of the feed here.", _STORE)
FEED_EVENTS = Metric(
    "holdfast_feed_events", "counter", "Events sent to readers of the feed here, counted for each reader.", _STORE
)
FEED_REFUSED = Metric(
    "holdfast_feed_refused_readers", "counter",
    "Readers that the feed did not let in here. reason: malformed, not known, not allowed, no such place, no GET, not now.",
    ("store", "reason"),
)  # fmt: skip

STORE_UP = Metric(
    "holdfast_store_up", "gauge", "1 where the store answered when it was asked for what follows.", _STORE
)
LAG = Metric(
    "holdfast_lag_events",
    "gauge",
    f"Events that are not settled, counted up to {LAG_MAX:,} in the log and estimated beyond.",
    _SUBSCRIPTION,
)
LAG_SECONDS = Metric(
    "holdfast_lag_seconds", "gauge",
    "How long the oldest event waits that could be handled now; 0 while paused. Events held behind their key, or not "
    "due again yet, do not count.", _SUBSCRIPTION,
)  # fmt: skip
RETRYING = Metric("holdfast_retrying_events", "gauge", "Events that failed and are tried again.", _SUBSCRIPTION)
DEAD_LETTERS = Metric(
    "holdfast_dead_letters", "gauge", "Events given up that nobody retried or discarded.", _SUBSCRIPTION
)
PAUSED = Metric("holdfast_paused", "gauge", "1 while an operator has paused the subscription.", _SUBSCRIPTION)
WORKERS = Metric("holdfast_live_workers", "gauge", "Live workers that run the subscription.", _SUBSCRIPTION)
PARTITIONS_AHEAD = Metric(
    "holdfast_partitions_ahead_days",
    "gauge",
    "Days ahead for which the log has its partition. PostgreSQL only.",
    _STORE,
)

OF_PROCESS = (
    PUBLISHED, DUPLICATES, OVER_QUOTA, PUBLISH_BATCH, SPOOL, STORE_ERRORS, LEASE_CHANGES, SETTLE_BATCH, DELIVERED, FAILED, RETRIED,
    PUT_OFF, DEAD, DURATION, LATENCY, IN_HAND, OWNED, BREAKER, BLOCKS_RETENTION, NEAR_RETENTION, LET_GO, RELAYED,
    RELAY_DURATION, INGESTED, INGEST_WAITING, BROKER_OUTAGES, BROKER_AWAY, WEBHOOKS, REFUSED_WEBHOOKS, FEED_READERS,
    FEED_EVENTS, FEED_REFUSED,
)  # fmt: skip
"""Counted in this process: every process tells its own, and a sum over them is meant."""
OF_STORE = (
    STORE_UP, LAG, LAG_SECONDS, RETRYING, DEAD_LETTERS, PAUSED, WORKERS, PARTITIONS_AHEAD,
)  # fmt: skip
"""Asked of the store: every process tells the same, and a maximum over them is meant."""
METRICS = (*OF_PROCESS, *OF_STORE)


def of_process(buses: Iterable[BusCounts]) -> list[Figure]:
    """What this process has counted; buses of one store together."""
    together: dict[tuple[Metric, tuple[str, ...]], float | Histogram] = {}
    for counts in buses:
        for metric, labels, value in _of_bus(counts):
            known = together.get((metric, labels))
            together[metric, labels] = value if known is None else _sum(known, value)
    return [Figure(metric, labels, value) for (metric, labels), value in together.items()]


def _sum(one: float | Histogram, other: float | Histogram) -> float | Histogram:
    if not isinstance(one, Histogram):
        assert not isinstance(other, Histogram)
        return one + other
    assert isinstance(other, Histogram)
    found = Histogram(one.bounds)
    found.buckets = [a + b for a, b in zip(one.buckets, other.buckets, strict=True)]
    found.total = one.total + other.total
    return found


def _of_bus(counts: BusCounts) -> Iterator[Figure]:
    store, publisher, worker = counts.store, counts.publisher, counts.worker
    yield Figure(PUBLISHED, (store, "store"), publisher.stored)
    yield Figure(PUBLISHED, (store, "spool"), publisher.spooled)
    yield Figure(PUBLISHED, (store, "transaction"), publisher.joined)
    yield Figure(DUPLICATES, (store,), publisher.duplicates)
    yield Figure(OVER_QUOTA, (store,), publisher.over_quota)
    yield Figure(PUBLISH_BATCH, (store,), publisher.batches)
    yield Figure(SPOOL, (store,), counts.spool_depth)
    yield Figure(STORE_ERRORS, (store, "publisher"), publisher.store_errors)
    for source, inbox in counts.inboxes.items():
        yield from _of_inbox((store, source), inbox)
    if counts.feed is not None:
        yield from _of_feed(store, counts.feed)
    if worker is None:
        return
    yield Figure(STORE_ERRORS, (store, "worker"), worker.store_errors)
    yield Figure(LEASE_CHANGES, (store, "acquired"), worker.acquired)
    yield Figure(LEASE_CHANGES, (store, "lost"), worker.lost)
    yield Figure(LEASE_CHANGES, (store, "given back"), worker.given_back)
    yield Figure(SETTLE_BATCH, (store,), worker.batches)
    # Also those that no program declares any more.
    for name in dict.fromkeys((*counts.subscriptions, *worker.blocking, *worker.near_retention, *worker.let_go)):
        yield Figure(BLOCKS_RETENTION, (store, name), float(name in worker.blocking))
        yield Figure(NEAR_RETENTION, (store, name), float(name in worker.near_retention))
        yield Figure(LET_GO, (store, name), worker.let_go.get(name, 0))
    for name, work in counts.subscriptions.items():
        yield from _of_work((store, name), work)
    for name, relay in counts.relays.items():
        yield Figure(RELAYED, (store, name, "sent"), relay.sent)
        yield Figure(RELAYED, (store, name, "refused"), relay.refused)
        yield Figure(RELAY_DURATION, (store, name), relay.durations)
        yield from _of_broker((store, "relay", name), relay)
    for name, ingest in counts.ingests.items():
        yield Figure(INGESTED, (store, name, "stored"), ingest.stored)
        yield Figure(INGESTED, (store, name, "duplicate"), ingest.duplicates)
        yield Figure(INGESTED, (store, name, "refused"), ingest.refused)
        yield Figure(INGESTED, (store, name, "passed over"), ingest.passed_over)
        if ingest.waiting is not None:
            yield Figure(INGEST_WAITING, (store, name), ingest.waiting)
        yield from _of_broker((store, "ingest", name), ingest)


def _of_inbox(labels: tuple[str, str], counts: InboxCounts) -> Iterator[Figure]:
    yield Figure(WEBHOOKS, (*labels, "stored"), counts.stored)
    yield Figure(WEBHOOKS, (*labels, "spool"), counts.spooled)
    yield Figure(WEBHOOKS, (*labels, "duplicate"), counts.duplicates)
    for reason, count in counts.refused.items():
        yield Figure(REFUSED_WEBHOOKS, (*labels, reason), count)


def _of_feed(store: str, counts: FeedCounts) -> Iterator[Figure]:
    yield Figure(FEED_READERS, (store,), counts.readers)
    yield Figure(FEED_EVENTS, (store,), counts.sent)
    for reason, count in counts.refused.items():
        yield Figure(FEED_REFUSED, (store, reason), count)


def _of_broker(labels: tuple[str, str, str], counts: RelayCounts | IngestCounts) -> Iterator[Figure]:
    yield Figure(BROKER_OUTAGES, labels, counts.outages)
    yield Figure(BROKER_AWAY, labels, float(counts.is_away))


def _of_work(labels: tuple[str, str], work: SubscriptionWork) -> Iterator[Figure]:
    counts = work.counts
    yield Figure(DELIVERED, labels, counts.delivered)
    yield Figure(FAILED, labels, counts.failed)
    yield Figure(RETRIED, labels, counts.retried)
    yield Figure(PUT_OFF, labels, counts.put_off)
    yield Figure(DEAD, labels, counts.dead)
    yield Figure(DURATION, labels, counts.durations)
    yield Figure(LATENCY, labels, counts.latencies)
    yield Figure(IN_HAND, labels, work.in_hand)
    yield Figure(OWNED, labels, work.partitions)
    yield Figure(BREAKER, labels, float(work.is_tripped))


async def of_store(store: str, inspector: Inspector) -> list[Figure]:
    """
    What the store says of all its subscriptions, whoever runs them. One that cannot be asked within 5 seconds is not up,
    and nothing else is told of it.

    Args:
        store: Its address, as `holdfast.counts.BusCounts` gives it.

    Cost: as `Inspector.status`, up to `LAG_MAX` events of each backlog. For one asker at a time.
    """
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            status = await inspector.status(backlog_max=LAG_MAX, retention=None)
            ahead = await inspector.days_ahead()
    except (HoldfastError, TimeoutError):
        return [Figure(STORE_UP, (store,), 0)]
    figures = [Figure(STORE_UP, (store,), 1)]
    if ahead is not None:
        figures.append(Figure(PARTITIONS_AHEAD, (store,), ahead))
    for one in status.subscriptions:
        figures += _of_status((store, one.name), one)
    return figures


def _of_status(labels: tuple[str, str], one: SubscriptionStatus) -> Iterator[Figure]:
    yield Figure(LAG, labels, one.lag)
    yield Figure(LAG_SECONDS, labels, 0.0 if one.paused else one.waiting_seconds or 0.0)
    yield Figure(RETRYING, labels, one.retrying)
    yield Figure(DEAD_LETTERS, labels, one.dead)
    yield Figure(PAUSED, labels, float(one.paused))
    yield Figure(WORKERS, labels, one.workers)


def cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    """For each bound, how many values do not exceed it."""
    bounds = [f"{bound:g}" for bound in histogram.bounds] + ["+Inf"]
    return list(zip(bounds, accumulate(histogram.buckets), strict=True))
