"""From samples to figures of the last minutes, and to lines of a chart. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from holdfast.stores.records import LagSample, PublishedSample, Sample, Samples

MINUTE = 60
RECENT_MINUTES = 15


@dataclass(frozen=True, slots=True)
class Recent:
    """
    The last `RECENT_MINUTES` minutes.

    Attributes:
        rate: Events handled a second.
        failed: Attempts that did not succeed.
        error_rate: Their part of all attempts; None where there was none.
        p50_seconds: Of the latest minute in which the handler was called.
        p95_seconds: The same.
    """

    rate: float
    failed: int
    dead: int
    error_rate: float | None
    p50_seconds: float | None
    p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """What came in and was handled a second in the last `RECENT_MINUTES` minutes, by all subscriptions together."""

    rate_in: float | None
    rate_out: float
    failed: int


@dataclass(frozen=True, slots=True)
class Lines:
    """
    Lines of a chart: a value for each minute.

    Attributes:
        minutes: Ends of the minutes, in seconds since 1970.
        published: Events a second that came in; None where nobody looked, and for a single subscription.
        delivered: Events handled a second.
        failed: Failed attempts in the minute.
        dead: Events given up in the minute.
        p50_seconds: None where no handler was called, and for several subscriptions together.
        p95_seconds: The same.
        lag: Events that were not settled; of several subscriptions, all of theirs. None where nobody looked.
        lag_seconds: How long the oldest of them had waited.
    """

    minutes: list[int]
    published: list[float | None]
    delivered: list[float]
    failed: list[int]
    dead: list[int]
    p50_seconds: list[float | None]
    p95_seconds: list[float | None]
    lag: list[int | None]
    lag_seconds: list[float | None]


def recent(samples: Sequence[Sample]) -> Recent:
    """Figures of a subscription whose samples of the last minutes these are."""
    delivered, failed = sum(one.delivered for one in samples), sum(one.failed for one in samples)
    called = [one for one in samples if one.p95_seconds is not None]
    attempts = delivered + failed
    return Recent(
        delivered / (RECENT_MINUTES * MINUTE), failed, sum(one.dead for one in samples),
        failed / attempts if attempts else None,
        called[-1].p50_seconds if called else None, called[-1].p95_seconds if called else None,
    )  # fmt: skip


def flow(samples: Samples) -> Flow:
    """Figures of the whole store."""
    seconds = sum(one.seconds for one in samples.published)
    of_each = [recent(found) for found in samples.subscriptions.values()]
    return Flow(
        sum(one.events for one in samples.published) / seconds if seconds else None,
        sum(one.rate for one in of_each),
        sum(one.failed for one in of_each),
    )


def lines(samples: Samples, since: datetime, until: datetime, subscription: str | None = None) -> Lines:
    """A value for each full minute from *since* to *until*; of one *subscription*, or of all together."""
    first = int(since.timestamp()) // MINUTE * MINUTE + MINUTE
    minutes = list(range(first, int(until.timestamp()) + 1, MINUTE))
    chosen = samples.subscriptions if subscription is None else {
        subscription: samples.subscriptions.get(subscription, ())
    }  # fmt: skip
    every = [one for found in chosen.values() for one in found]
    behind = samples.lags if subscription is None else (subscription,)

    def summed(figure: Callable[[Sample], int]) -> list[int]:
        found = dict.fromkeys(minutes, 0)
        for one in every:
            if (at := _minute(one.at)) in found:
                found[at] += figure(one)
        return list(found.values())

    by_minute = {_minute(one.at): one for one in every} if subscription is not None else {}
    return Lines(
        minutes,
        published(minutes, samples.published if subscription is None else ()),
        [count / MINUTE for count in summed(lambda one: one.delivered)],
        summed(lambda one: one.failed),
        summed(lambda one: one.dead),
        [by_minute[at].p50_seconds if at in by_minute else None for at in minutes],
        [by_minute[at].p95_seconds if at in by_minute else None for at in minutes],
        *lags(minutes, [one for name in behind for one in samples.lags.get(name, ())]),
    )


def published(minutes: Sequence[int], samples: Iterable[PublishedSample]) -> list[float | None]:
    """Events a second in each minute; a sample over several minutes is spread over them."""
    found: dict[int, float] = {}
    for one in samples:
        if one.seconds > 0:
            begun = _minute(one.at - timedelta(seconds=one.seconds))
            for at in range(begun + MINUTE, _minute(one.at) + 1, MINUTE):
                found[at] = one.events / one.seconds
    return [found.get(at) for at in minutes]


def lags(minutes: Sequence[int], samples: Iterable[LagSample]) -> tuple[list[int | None], list[float | None]]:
    """In each minute what waited, all together, and how long the oldest; nothing has waited for no time."""
    events: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for one in samples:
        at = _minute(one.at)
        events[at] = events.get(at, 0) + one.events
        seconds[at] = max(seconds.get(at, 0.0), one.seconds or 0.0)
    return [events.get(at) for at in minutes], [seconds.get(at) for at in minutes]


def _minute(at: datetime) -> int:
    return round(at.timestamp() / MINUTE) * MINUTE
