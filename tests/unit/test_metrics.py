"""Metrics: each one of the table is told, under its name, with its labels, by the numbers that were counted."""

from __future__ import annotations

import dataclasses
import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from holdfast import EventBus
from holdfast.counts import (
    BusCounts,
    FeedCounts,
    InboxCounts,
    IngestCounts,
    PublisherCounts,
    RelayCounts,
    SubscriptionCounts,
    SubscriptionWork,
    WorkerCounts,
)
from holdfast.errors import StoreUnavailable
from holdfast.health import Verdict
from holdfast.stores.records import Status, SubscriptionStatus
from holdfast.telemetry import metrics
from holdfast.telemetry.prometheus import BusCollector, exposition, families

QUIET = SubscriptionStatus(
    id=1, name="billing", paused=False, backlog=0, backlog_estimated=False, pending=0, retrying=0, running=0, dead=0,
    discarded=0, lag=0, lag_seconds=None, waiting_seconds=None, idle_seconds=None, owned=8, free=0, workers=1,
    tripped=0, blocks_retention=False,
)  # fmt: skip


class FakeInspector:
    def __init__(self, *statuses: SubscriptionStatus, ahead: int | None = 7) -> None:
        self.statuses, self.ahead, self.is_away = statuses, ahead, False

    async def status(self, *, backlog_max: int, retention: float | None) -> Status:
        if self.is_away:
            raise StoreUnavailable("away")
        assert (backlog_max, retention) == (metrics.LAG_MAX, None)  # what is asked for so often must be cheap
        return Status(Verdict(metrics), self.statuses, 1, None)

    async def days_ahead(self) -> int | None:
        return self.ahead


def busy(store: str = "here") -> BusCounts:
    publisher, worker, counts = PublisherCounts(), WorkerCounts(), SubscriptionCounts()
    publisher.stored, publisher.spooled, publisher.joined, publisher.duplicates = 7, 2, 3, 1
    publisher.over_quota = 6
    publisher.batches.add_all([4, 3])
    worker.acquired, worker.lost, worker.given_back, worker.store_errors = 8, 1, 2, 5
    worker.batches.add(7)
    worker.blocking = ("forgotten",)
    counts.delivered, counts.failed, counts.retried, counts.put_off, counts.dead = 7, 4, 3, 2, 1
    counts.durations.add_all([0.02] * 7)
    counts.latencies.add_all([0.004, 0.3])
    relay, ingest = RelayCounts(), IngestCounts()
    relay.sent, relay.refused, relay.outages, relay.is_away = 70, 2, 3, True
    relay.durations.add(0.01)
    ingest.stored, ingest.duplicates, ingest.refused, ingest.outages = 40, 5, 1, 2
    ingest.passed_over, ingest.waiting = 9, 12
    work = {"billing": SubscriptionWork(counts, 8, 3, True)}
    inbox, feed = InboxCounts(["malformed", "signature"]), FeedCounts(["not known"])
    inbox.stored, inbox.spooled, inbox.duplicates, inbox.refused["signature"] = 30, 4, 3, 2
    feed.readers, feed.sent, feed.refused["not known"] = 5, 60, 1
    return BusCounts(store, publisher, 2, worker, work, {"out": relay}, {"in": ingest}, {"github": inbox}, feed)


def told(figures: list[metrics.Figure]) -> dict[tuple[str, ...], float]:
    """Samples of the text, by name and the values of their labels in the order of these."""
    registry = CollectorRegistry()
    registry.register(type("Once", (), {"collect": lambda _: families(figures)})())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_what_a_process_has_counted():
    found = told(metrics.of_process([busy()]))
    assert {
        ("holdfast_published_events_total", "here", "store"): 7,
        ("holdfast_published_events_total", "here", "spool"): 2,
        ("holdfast_published_events_total", "here", "transaction"): 3,
        ("holdfast_duplicate_events_total", "here"): 1,
        ("holdfast_over_quota_events_total", "here"): 6,
        ("holdfast_spool_events", "here"): 2,
        ("holdfast_store_errors_total", "worker", "here"): 5,
        ("holdfast_lease_changes_total", "lost", "here"): 1,
        ("holdfast_delivered_events_total", "here", "billing"): 7,
        ("holdfast_failed_attempts_total", "here", "billing"): 4,
        ("holdfast_retried_attempts_total", "here", "billing"): 3,
        ("holdfast_put_off_attempts_total", "here", "billing"): 2,
        ("holdfast_dead_events_total", "here", "billing"): 1,
        ("holdfast_owned_partitions", "here", "billing"): 8,
        ("holdfast_relayed_messages_total", "sent", "here", "out"): 70,
        ("holdfast_relayed_messages_total", "refused", "here", "out"): 2,
        ("holdfast_ingested_messages_total", "in", "stored", "here"): 40,
        ("holdfast_ingested_messages_total", "in", "duplicate", "here"): 5,
        ("holdfast_ingested_messages_total", "in", "refused", "here"): 1,
        ("holdfast_ingested_messages_total", "in", "passed over", "here"): 9,
        ("holdfast_ingest_waiting_messages", "in", "here"): 12,
        ("holdfast_broker_outages_total", "out", "here", "relay"): 3,
        ("holdfast_broker_away", "out", "here", "relay"): 1,
        ("holdfast_broker_outages_total", "in", "here", "ingest"): 2,
        ("holdfast_broker_away", "in", "here", "ingest"): 0,
        ("holdfast_webhooks_total", "stored", "github", "here"): 30,
        ("holdfast_webhooks_total", "spool", "github", "here"): 4,
        ("holdfast_webhooks_total", "duplicate", "github", "here"): 3,
        ("holdfast_refused_webhooks_total", "malformed", "github", "here"): 0,
        ("holdfast_refused_webhooks_total", "signature", "github", "here"): 2,
        ("holdfast_feed_readers", "here"): 5,
        ("holdfast_feed_events_total", "here"): 60,
        ("holdfast_feed_refused_readers_total", "not known", "here"): 1,
        ("holdfast_in_hand_events", "here", "billing"): 3,
        ("holdfast_breaker_open", "here", "billing"): 1,
        ("holdfast_blocks_retention", "here", "billing"): 0,
        ("holdfast_blocks_retention", "here", "forgotten"): 1,
    }.items() <= found.items()


def test_a_histogram_counts_what_does_not_exceed_each_bound():
    found = told(metrics.of_process([busy()]))
    buckets = [
        (labels[1], value) for labels, value in found.items() if labels[0] == "holdfast_settle_batch_events_bucket"
    ]
    assert [(le, value) for le, value in buckets if le in {"5", "10", "+Inf"}] == [
        ("5", 0.0), ("10", 1.0), ("+Inf", 1.0),
    ]  # fmt: skip
    assert found["holdfast_handler_duration_seconds_count", "here", "billing"] == 7
    assert found["holdfast_handler_duration_seconds_sum", "here", "billing"] == pytest.approx(0.14)


def test_buses_of_one_store_are_told_together_and_others_apart():
    found = told(metrics.of_process([busy(), busy(), busy("there")]))
    assert found["holdfast_delivered_events_total", "here", "billing"] == 14
    assert found["holdfast_delivered_events_total", "there", "billing"] == 7
    assert found["holdfast_publish_batch_events_sum", "here"] == 14


def test_a_process_that_only_publishes_tells_nothing_of_subscriptions():
    found = told(metrics.of_process([dataclasses.replace(busy(), worker=None, subscriptions={})]))
    assert found["holdfast_published_events_total", "here", "store"] == 7
    assert found["holdfast_webhooks_total", "stored", "github", "here"] == 30
    assert not [labels for labels in found if "billing" in labels or "lease" in labels[0]]


async def test_what_the_store_says():
    status = dataclasses.replace(QUIET, lag=12, waiting_seconds=3.5, retrying=2, dead=1)
    found = told(await metrics.of_store("here", FakeInspector(status)))
    assert found == {
        ("holdfast_store_up", "here"): 1,
        ("holdfast_partitions_ahead_days", "here"): 7,
        ("holdfast_lag_events", "here", "billing"): 12,
        ("holdfast_lag_seconds", "here", "billing"): 3.5,
        ("holdfast_retrying_events", "here", "billing"): 2,
        ("holdfast_dead_letters", "here", "billing"): 1,
        ("holdfast_paused", "here", "billing"): 0,
        ("holdfast_live_workers", "here", "billing"): 1,
    }


async def test_what_is_paused_or_held_is_not_late():
    paused = dataclasses.replace(QUIET, lag=9, waiting_seconds=600.0, lag_seconds=600.0, paused=True)
    held = dataclasses.replace(QUIET, name="held", lag=9, waiting_seconds=None, lag_seconds=600.0)
    found = told(await metrics.of_store("here", FakeInspector(paused, held)))
    assert found["holdfast_lag_seconds", "here", "billing"] == 0
    assert found["holdfast_lag_seconds", "here", "held"] == 0
    assert found["holdfast_lag_events", "here", "billing"] == 9


async def test_a_store_without_partitions_by_day_tells_of_none():
    found = told(await metrics.of_store("here", FakeInspector(ahead=None)))
    assert found == {("holdfast_store_up", "here"): 1}


async def test_a_store_that_is_away_is_not_up_and_the_process_still_tells():
    inspector = FakeInspector(QUIET)
    inspector.is_away = True
    bus = EventBus("sqlite://")
    await bus.publish("a")
    text = (await exposition([bus], {"here": inspector})).decode()
    await bus.close()
    assert 'holdfast_store_up{store="here"} 0.0' in text
    assert 'holdfast_published_events_total{store="sqlite-memory",where="store"} 1.0' in text
    assert "holdfast_lag" not in text


async def test_every_metric_of_the_table_is_told():
    figures = metrics.of_process([busy()]) + await metrics.of_store("here", FakeInspector(QUIET))
    assert {figure.metric for figure in figures} == set(metrics.METRICS)
    assert all(len(figure.labels) == len(figure.metric.labels) for figure in figures)


def test_names_say_what_is_counted_and_in_which_unit():
    for metric in metrics.METRICS:
        assert re.fullmatch(r"holdfast(_[a-z]+)+", metric.name)
        assert not metric.name.endswith("_total")
        assert metric.help.endswith(".")
    assert len({metric.name for metric in metrics.METRICS}) == len(metrics.METRICS)


async def test_a_registry_of_ones_own_takes_a_bus_that_was_not_used_yet():
    registry, bus = CollectorRegistry(auto_describe=True), EventBus("sqlite://")
    registry.register(BusCollector([bus]))
    assert generate_latest(registry) == b""
    await bus.publish_many([{"name": "a", "payload": n} for n in range(3)])
    assert registry.get_sample_value(
        "holdfast_published_events_total", {"store": "sqlite-memory", "where": "store"}
    ) == pytest.approx(3)
    await bus.close()
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(BusCollector([bus]))


def test_bounds_are_written_as_prometheus_compares_them():
    assert [bound for bound, _ in metrics.cumulative(busy().worker.batches)] == [
        "1", "2", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "+Inf",
    ]  # fmt: skip
