"""From the samples of single workers to what a chart shows. Pure."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from holdfast.counts import SECONDS, quantile
from holdfast.stores.records import PublishedSample, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

Row = tuple[str, "datetime", int, int, int, int, "Sequence[int]"]
"""Subscription, minute, delivered, failed, retried, dead, calls of the handler by duration."""


def published(places: Iterable[tuple[datetime, int]]) -> tuple[PublishedSample, ...]:
    """What came into the log between any two of the places that it had got to, given in the order of time."""
    return tuple(
        # A store that was restored stands further back than it did.
        PublishedSample(at, max(0, position - before), (at - since).total_seconds())
        for (since, before), (at, position) in pairwise(places)
    )


def by_subscription(rows: Iterable[Row]) -> dict[str, tuple[Sample, ...]]:
    """The workers' samples of each minute together; *rows* in the order of subscription and minute."""
    return {
        name: tuple(_together(at, list(alike)) for at, alike in groupby(of_it, key=lambda row: row[1]))
        for name, of_it in groupby(rows, key=lambda row: row[0])
    }


def _together(at: datetime, rows: Sequence[Row]) -> Sample:
    delivered, failed, retried, dead = (sum(row[place] for row in rows) for place in (2, 3, 4, 5))
    buckets = [sum(counts) for counts in zip(*(row[6] for row in rows), strict=True)]
    return Sample(at, delivered, failed, retried, dead, quantile(SECONDS, buckets, 0.5), quantile(SECONDS, buckets, 0.95))
