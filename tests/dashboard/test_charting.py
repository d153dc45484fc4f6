from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.dashboard.charting import flow, lines, recent
from holdfast.stores.records import LagSample, PublishedSample, Sample, Samples

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def minute(number):
    return NOON + timedelta(minutes=number)


def sample(number, delivered=60, failed=0, p95=0.2):
    return Sample(minute(number), delivered, failed, failed, failed // 2, p95, p95)


SAMPLES = Samples(
    (PublishedSample(minute(1), 120, 60.0), PublishedSample(minute(4), 360, 180.0)),
    {"billing": (sample(1), sample(3, 0, 4, None)), "archive": (sample(1, 30, 2), sample(2))},
    {
        "billing": (LagSample(minute(1), 5, 2.0), LagSample(minute(2), 0, None)),
        "nobody's": (LagSample(minute(1), 7, 3.5),),
    },
)


def test_every_minute_has_a_value_on_every_line():
    found = lines(SAMPLES, NOON, minute(4) + timedelta(seconds=30))
    assert [at - int(NOON.timestamp()) for at in found.minutes] == [60, 120, 180, 240]
    assert found.published == [2.0, 2.0, 2.0, 2.0], "a gap is spread over its minutes"
    assert found.delivered == [1.5, 1.0, 0.0, 0.0]
    assert found.failed == [2, 0, 4, 0]
    assert found.dead == [1, 0, 2, 0]
    assert set(found.p95_seconds) == {None}, "quantiles of several subscriptions do not add up"


def test_one_subscription_has_its_own_durations():
    found = lines(SAMPLES, NOON, minute(3), "billing")
    assert found.delivered == [1.0, 0.0, 0.0]
    assert found.p95_seconds == [0.2, None, None]
    assert found.published == [None, None, None]
    assert lines(SAMPLES, NOON, minute(2), "nobody").delivered == [0.0, 0.0]


def test_lag_is_that_of_all_and_the_oldest_of_any():
    """Also of one that no worker runs, and so has no other sample."""
    found = lines(SAMPLES, NOON, minute(3))
    assert found.lag == [12, 0, None]
    assert found.lag_seconds == [3.5, 0.0, None]
    one = lines(SAMPLES, NOON, minute(3), "billing")
    assert (one.lag, one.lag_seconds) == ([5, 0, None], [2.0, 0.0, None])
    assert lines(SAMPLES, NOON, minute(1), "archive").lag == [None]


def test_what_nobody_looked_at_is_not_nothing():
    empty = Samples((PublishedSample(minute(2), 5, 0.0),), {}, {})
    assert lines(empty, NOON, minute(2)).published == [None, None]
    assert flow(empty).rate_in is None


def test_the_last_minutes_of_a_subscription():
    found = recent(SAMPLES.subscriptions["billing"])
    assert (found.failed, found.dead, found.p95_seconds) == (4, 2, 0.2)
    assert found.error_rate == 4 / 64
    assert recent(()).error_rate is None
    assert flow(SAMPLES).rate_in == 2.0
