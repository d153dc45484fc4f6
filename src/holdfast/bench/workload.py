"""What is published and how outcomes are counted: the same for Holdfast and for raw SQL."""

from __future__ import annotations

import math
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

from holdfast.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

NAME = "bench.event"
SUBSCRIPTION = "bench"
KEYS = 1_000
PAGE = 1_000
CALLERS = 200
CONCURRENCY = 64  # the default of a subscription with an async handler
PAYLOAD_BYTES = 200
PERCENTILES = (1, 10, 25, 50, 75, 90, 99)
NOBODY = -1  # a subscription's number that no subscription has

Numbers = dict[str, float]


def payload(number: int) -> dict[str, Any]:
    """A payload of 200 bytes as JSON."""
    content = {"order_id": number, "total": "19.90", "note": ""}
    content["note"] = "x" * (PAYLOAD_BYTES - len(f'{{"order_id":{number},"total":"19.90","note":""}}'))
    return content


def key(number: int, keys: int = KEYS) -> str:
    return f"key-{number % keys}"


def name_of(number: int, subscriptions: int = 1) -> str:
    """The name of an event: as many as there are subscriptions, taking turns."""
    return NAME if subscriptions == 1 else f"{NAME}.{number % subscriptions}"


def subscription_of(number: int, subscriptions: int = 1) -> str:
    """The subscription that wants the events of `name_of` this number, and no other."""
    return SUBSCRIPTION if subscriptions == 1 else f"{SUBSCRIPTION}-{number % subscriptions}"


def new_id() -> UUID:
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def patience(events: int) -> float:
    """Seconds after which what has not been handled counts as lost."""
    return 30 + events / 500


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least *percent* of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(seconds: Sequence[float]) -> Numbers:
    """The distribution in milliseconds: the median, percentiles round it, and the most."""
    around = {f"p{percent}_ms": 1000 * percentile(seconds, percent) for percent in PERCENTILES}
    return around | {"p50_ms": 1000 * statistics.median(seconds), "max_ms": 1000 * max(seconds)}


def rate(events: int, seconds: float) -> Numbers:
    return {"events_per_s": events / seconds, "seconds": seconds}


def drained(events: int, receipts: int, seconds: float, busy: float) -> Numbers:
    """The numbers of a drain by plain SQL; *busy* is the seconds of processor time that this process took."""
    return rate(events, seconds) | {"cpu_us_per_event": 1e6 * busy / events, "lost": events - receipts, "repeated": 0}
