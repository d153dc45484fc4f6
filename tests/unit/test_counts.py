"""Histograms, quantiles and what becomes a sample: from numbers alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from holdfast.counts import SECONDS, Histogram, SubscriptionCounts, WorkerCounts, quantile
from holdfast.errors import StoreUnavailable
from holdfast.ports import Ports
from holdfast.worker.sampling import Sampler, seconds_to_the_minute, since, total

if TYPE_CHECKING:
    from holdfast.stores.values import Sampled


def counted(*values: float, bounds: tuple[float, ...] = (1.0, 2.0, 5.0)) -> Histogram:
    histogram = Histogram(bounds)
    histogram.add_all(values)
    return histogram


class TestHistogram:
    def test_a_bound_belongs_to_the_bucket_that_it_ends(self):
        assert counted(0.0, 1.0, 1.1, 2.0, 5.0, 5.1, 99.0).buckets == [2, 2, 1, 2]

    @pytest.mark.parametrize(
        "values", [(0.5, 0.7), (0.5, 4.0, 1.5), (7.0,), (-3.0, 0.5), (-3.0, -2.0), (5.0, 1.0, 2.0, 1.0), (9.0, 0.1)]
    )
    def test_many_at_once_count_as_they_would_one_by_one(self, values):
        together, singly = counted(*values), Histogram((1.0, 2.0, 5.0))
        for value in values:
            singly.add(value)
        assert (together.buckets, together.total) == (singly.buckets, pytest.approx(singly.total))

    def test_what_lies_before_its_own_beginning_counts_as_zero(self):
        assert (counted(-3.0).buckets, counted(-3.0, -1.0).total) == ([1, 0, 0, 0], 0.0)


class TestQuantile:
    BOUNDS = (1.0, 2.0, 5.0)

    @pytest.mark.parametrize(
        ("buckets", "share", "expected"),
        [
            ([10, 0, 0, 0], 0.5, 0.5),
            ([0, 10, 0, 0], 0.5, 1.5),
            ([5, 5, 0, 0], 0.95, 1.9),
            ([90, 0, 10, 0], 0.95, 3.5),
            ([0, 0, 0, 3], 0.5, 5.0),
            ([0, 4, 0, 0], 0.0, 1.0),
            ([0, 4, 0, 0], 1.0, 2.0),
        ],
    )
    def test_lies_between_the_bounds_in_proportion(self, buckets, share, expected):
        assert quantile(self.BOUNDS, buckets, share) == pytest.approx(expected)

    def test_of_nothing_there_is_none(self):
        assert quantile(self.BOUNDS, [0, 0, 0, 0], 0.5) is None

    def test_the_bounds_ascend(self):
        assert sorted(set(SECONDS)) == list(SECONDS)


def counts_of(delivered: int, *, seconds: float = 0.02) -> SubscriptionCounts:
    counts = SubscriptionCounts()
    counts.delivered = delivered
    counts.durations.add_all([seconds] * delivered)
    return counts


class TestSince:
    def test_what_is_new_of_those_where_anything_is(self):
        quiet, busy, new = counts_of(5), counts_of(5), counts_of(2)
        before = {1: total(1, quiet), 2: total(2, busy)}
        busy.delivered, busy.failed, busy.retried, busy.dead = 9, 3, 2, 1
        busy.durations.add(0.02)
        one, other = since(before, {1: total(1, quiet), 2: total(2, busy), 3: total(3, new)})
        assert one[:5] == (2, 4, 3, 2, 1)
        assert one.durations[SECONDS.index(0.025)] == sum(one.durations) == 1
        assert other == total(3, new)

    def test_a_subscription_that_never_did_anything_has_no_sample(self):
        assert since({}, {1: total(1, SubscriptionCounts())}) == []


class TestSampler:
    """With a wall clock that stands a moment before the minute, so that nobody waits for long."""

    class Store:
        def __init__(self) -> None:
            self.given: asyncio.Queue[list[Sampled]] = asyncio.Queue()
            self.is_away = False

        async def add_samples(self, _worker: object, samples: list[Sampled]) -> None:
            self.given.put_nowait(samples)
            if self.is_away:
                raise StoreUnavailable("away")

        async def add_lags(self, _worker: object) -> None: ...

    @pytest.fixture
    async def sampling(self):
        store, counts, of_worker = self.Store(), counts_of(3), WorkerCounts()
        runners = {1: SimpleNamespace(counts=counts)}
        ports = Ports(wall_micros=lambda: 59_999_000)
        task = asyncio.create_task(Sampler(store, uuid4(), runners, ports, of_worker).run())
        yield store, counts, of_worker
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def test_each_sample_begins_where_the_one_before_ended(self, sampling):
        store, counts, _ = sampling
        (first,) = await store.given.get()
        counts.delivered += 4
        found = [first.delivered]
        while len(found) < 2:
            found += [sample.delivered for sample in await store.given.get()]
        assert found == [3, 4]

    async def test_what_the_store_did_not_take_is_told_again(self, sampling):
        store, counts, of_worker = sampling
        await store.given.get()
        counts.delivered += 4
        store.is_away = True
        while not (refused := await store.given.get()):
            pass
        store.is_away = False
        assert [sample.delivered for sample in refused] == [4]
        while not (taken := await store.given.get()):
            pass
        assert taken == refused
        assert of_worker.store_errors >= 1


@pytest.mark.parametrize(("micros", "seconds"), [(0, 60.0), (59_000_000, 1.0), (60_000_000, 60.0), (-1_000_000, 1.0)])
def test_the_next_full_minute(micros, seconds):
    assert seconds_to_the_minute(micros) == seconds
