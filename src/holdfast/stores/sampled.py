"""From the samples of single workers to what a chart shows. Pure."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from holdfast.counts import SECONDS, quantile
from holdfast.stores.records import PublishedSample, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime


class Counted(NamedTuple):
    """What one worker counted for a subscription in a minute. ``durations``: calls by the bounds of `SECONDS`."""

    subscription: str
    at: datetime
    delivered: int
    failed: int
    retried: int
    dead: int
    durations: Sequence[int]


def published(places: Iterable[tuple[datetime, int]]) -> tuple[PublishedSample, ...]:
    """What came into the log between any two of the places that it had got to, given in the order of time."""
    return tuple(
        # A store that was restored stands further back than it did.
        PublishedSample(at, max(0, position - before), (at - since).total_seconds())
        for (since, before), (at, position) in pairwise(places)
    )


def by_subscription(counted: Iterable[Counted]) -> dict[str, tuple[Sample, ...]]:
    """What all workers counted in each minute; given in the order of subscription and minute."""
    return {
        name: tuple(_together(at, list(alike)) for at, alike in groupby(of_it, key=lambda one: one.at))
        for name, of_it in groupby(counted, key=lambda one: one.subscription)
    }


def _together(at: datetime, counted: Sequence[Counted]) -> Sample:
    buckets = [sum(counts) for counts in zip(*(one.durations for one in counted), strict=True)]
    return Sample(
        at,
        sum(one.delivered for one in counted),
        sum(one.failed for one in counted),
        sum(one.retried for one in counted),
        sum(one.dead for one in counted),
        quantile(SECONDS, buckets, 0.5),
        quantile(SECONDS, buckets, 0.95),
    )
