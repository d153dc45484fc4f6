"""Samples: what workers counted, kept for the charts of the last hours, and read as a series for each subscription."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from holdfast.counts import SECONDS
from holdfast.stores.inspector import make_inspector
from holdfast.stores.values import Sampled, State, WorkerInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.stores.inspector import Inspector
    from holdfast.stores.records import Samples

pytestmark = pytest.mark.parametrize("scene", ["file", "memory", "postgres"], indirect=True)

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@asynccontextmanager
async def looking(scene) -> AsyncIterator[Inspector]:
    inspector, _ = make_inspector(scene.store)
    try:
        yield inspector
    finally:
        await inspector.close()


async def samples_of(scene, since: datetime = LONG_AGO) -> Samples:
    async with looking(scene) as inspector:
        return await inspector.samples(since)


def sampled(subscription: int, delivered: int = 0, *, buckets: dict[int, int] | None = None, **counts: int) -> Sampled:
    durations = tuple((buckets or {}).get(place, 0) for place in range(len(SECONDS) + 1))
    return Sampled(subscription, delivered, **{"failed": 0, "retried": 0, "dead": 0} | counts, durations=durations)


def moment(seconds: int) -> str:
    """So many seconds before one and the same minute, as both stores take it."""
    return f"'{NOW - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.000000Z}'"


async def move(scene, seconds: int, where: str = "true") -> None:
    """Put samples there: of two that were written one after the other a minute may have ended in between."""
    await scene.sql(f"update samples set at = {moment(seconds)} where {where}")


async def test_there_are_none_before_a_worker_wrote_one(scene):
    found = await samples_of(scene)
    assert (found.published, found.subscriptions) == ((), {})


async def test_what_several_workers_did_in_a_minute_is_one_sample(scene):
    billing, mail = await scene.subscribe("billing"), await scene.subscribe("mail")
    await scene.store.add_samples(
        uuid4(), [sampled(billing.id, 3, failed=2, retried=1, dead=1), sampled(mail.id, 4)]
    )  # fmt: skip
    await scene.store.add_samples(uuid4(), [sampled(billing.id, 5, failed=1, retried=1)])
    await move(scene, 0)
    found = await samples_of(scene)
    assert list(found.subscriptions) == ["billing", "mail"]
    ((one,), (other,)) = found.subscriptions.values()
    assert (one.delivered, one.failed, one.retried, one.dead) == (8, 3, 2, 1)
    assert (other.delivered, other.failed) == (4, 0)


async def test_minutes_come_one_after_the_other(scene):
    billing = await scene.subscribe("billing")
    for minutes, delivered in ((2, 1), (1, 2), (0, 3)):
        await scene.store.add_samples(scene.worker, [sampled(billing.id, delivered)])
        await move(scene, 60 * minutes, f"delivered = {delivered}")
    series = (await samples_of(scene)).subscriptions["billing"]
    assert [sample.delivered for sample in series] == [1, 2, 3]
    assert [later.at - sample.at for sample, later in pairwise(series)] == [MINUTE, MINUTE]
    assert [sample.delivered for sample in (await samples_of(scene, series[1].at)).subscriptions["billing"]] == [2, 3]


async def test_a_sample_is_kept_under_the_nearest_full_minute(scene):
    billing, before = await scene.subscribe("billing"), datetime.now(UTC)
    await scene.store.add_samples(scene.worker, [sampled(billing.id, 1)])
    after = datetime.now(UTC)
    (sample,) = (await samples_of(scene)).subscriptions["billing"]
    assert (sample.at.second, sample.at.microsecond) == (0, 0)
    assert before - MINUTE / 2 <= sample.at <= after + MINUTE / 2


async def test_durations_of_all_workers_tell_what_is_usual_and_what_is_rare(scene):
    billing = await scene.subscribe("billing")
    quick, slow = SECONDS.index(0.01), SECONDS.index(2.5)
    await scene.store.add_samples(uuid4(), [sampled(billing.id, 90, buckets={quick: 90})])
    await scene.store.add_samples(uuid4(), [sampled(billing.id, 10, buckets={slow: 10})])
    await move(scene, 0)
    (sample,) = (await samples_of(scene)).subscriptions["billing"]
    assert sample.p50_seconds is not None
    assert 0.005 < sample.p50_seconds <= 0.01
    assert sample.p95_seconds is not None
    assert 1.0 < sample.p95_seconds <= 2.5


async def test_a_minute_in_which_no_handler_was_called_has_no_durations(scene):
    billing = await scene.subscribe("billing")
    await scene.store.add_samples(scene.worker, [sampled(billing.id, dead=1)])
    (sample,) = (await samples_of(scene)).subscriptions["billing"]
    assert (sample.p50_seconds, sample.p95_seconds) == (None, None)


async def test_what_was_published_by_anybody_is_told_by_how_far_the_log_got(scene):
    await scene.store.add_samples(scene.worker, [])
    await move(scene, 120)
    await scene.publish("a", "b", "c")
    await scene.store.add_samples(scene.worker, [])
    await scene.publish("d")
    await scene.store.add_samples(uuid4(), [])
    await move(scene, 0, f"at > {moment(120)}")
    (sample,) = (await samples_of(scene)).published
    assert (sample.events, sample.seconds) == (4, 120.0)


async def test_a_log_that_never_held_an_event_is_at_its_beginning(scene):
    await scene.store.add_samples(scene.worker, [])
    await move(scene, 60)
    await scene.publish("a")
    await scene.store.add_samples(scene.worker, [])
    assert [sample.events for sample in (await samples_of(scene)).published] == [1]


async def test_samples_of_a_subscription_that_was_removed_are_not_shown(scene):
    billing = await scene.subscribe("billing")
    await scene.store.add_samples(scene.worker, [sampled(billing.id, 1), sampled(billing.id + 1, 1)])
    assert list((await samples_of(scene)).subscriptions) == ["billing"]


async def test_they_are_forgotten_after_48_hours(scene):
    billing = await scene.subscribe("billing")
    for hours in (49, 47):
        await scene.store.add_samples(scene.worker, [sampled(billing.id, hours)])
        await move(scene, 3600 * hours, f"delivered = {hours} or delivered = 0")
    await scene.store.add_samples(scene.worker, [])
    assert [sample.delivered for sample in (await samples_of(scene)).subscriptions["billing"]] == [47]
    assert await scene.sql("select count(*) from samples where subscription is null") == [(2,)]


# ---- how far subscriptions are behind


async def lives(scene, worker=None, *subscriptions) -> None:
    """A heartbeat of that worker."""
    ids = tuple(one.id for one in subscriptions)
    await scene.store.heartbeat(WorkerInfo(worker or scene.worker, "host", "boot", 1, "then", "0.1.0", ids), ttl=30)


async def test_the_lag_of_every_subscription_is_kept_though_nobody_runs_it(scene):
    billing, _ = await scene.subscribe("billing"), await scene.subscribe("mail")
    await lives(scene, None, billing)
    await scene.publish("a", "b", "c")
    await scene.store.add_lags(scene.worker)
    found = (await samples_of(scene)).lags
    assert list(found) == ["billing", "mail"]
    for (one,) in found.values():
        assert (one.at.second, one.events) == (0, 3)
        assert 0 <= one.seconds < 60


async def test_what_is_settled_has_no_lag(scene):
    await scene.subscribe("billing")
    await lives(scene)
    await scene.store.add_lags(scene.worker)
    ((one,),) = (await samples_of(scene)).lags.values()
    assert (one.events, one.seconds or 0) == (0, 0)


async def test_deliveries_that_wait_are_lag_too(scene):
    lease = await scene.leased("billing")
    await scene.publish("a", "b", "c")
    await lives(scene)
    await scene.park(lease, await scene.rows(lease), State.RETRYING, attempts=1)
    await scene.store.add_lags(scene.worker)
    ((one,),) = (await samples_of(scene)).lags.values()
    assert one.events == 3
    assert one.seconds is not None


async def test_the_first_of_the_living_workers_does_it_for_all(scene):
    await scene.subscribe("billing")
    first, second = sorted([uuid4(), uuid4()], key=lambda one: one.bytes)
    for worker in (first, second):
        await lives(scene, worker)
    await scene.store.add_lags(second)
    assert (await samples_of(scene)).lags == {}
    await scene.store.add_lags(first)
    assert list((await samples_of(scene)).lags) == ["billing"]


async def test_who_does_not_live_leaves_it_to_the_next(scene):
    await scene.subscribe("billing")
    first, second = sorted([uuid4(), uuid4()], key=lambda one: one.bytes)
    for worker in (first, second):
        await lives(scene, worker)
    await scene.store.leave(first)
    await scene.store.add_lags(second)
    assert list((await samples_of(scene)).lags) == ["billing"]


async def test_two_looks_in_a_minute_are_one_sample_of_the_worse(scene):
    await scene.subscribe("billing")
    await lives(scene)
    await scene.store.add_lags(scene.worker)
    await scene.publish("a", "b")
    await scene.store.add_lags(scene.worker)
    await move(scene, 0)
    ((one,),) = (await samples_of(scene)).lags.values()
    assert one.events == 2


async def test_minutes_of_lag_count_for_nothing_else(scene):
    billing = await scene.subscribe("billing")
    await lives(scene)
    await scene.store.add_samples(scene.worker, [sampled(billing.id, 1)])
    await scene.store.add_lags(scene.worker)
    found = await samples_of(scene)
    assert [one.delivered for one in found.subscriptions["billing"]] == [1]
