"""What the figures of a store come to: OK, DEGRADED or STALLED. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.stores.records import SubscriptionStatus

STALLED_SECONDS = 360.0
"""Waiting events, live workers, nothing moves: longer than the default timeout of a handler (300 s)."""

ABANDONED_SECONDS = 60.0
"""Waiting events, and nobody who would take them: long enough for a restart of the workers."""


class Health(StrEnum):
    """From best to worst."""

    OK = "OK"
    DEGRADED = "DEGRADED"  # events are delivered, and somebody should look
    STALLED = "STALLED"  # events wait and nothing moves


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the whole is doing. `reasons`: a sentence each, the worst first; none when OK."""

    health: Health
    reasons: tuple[str, ...] = ()


def verdict(
    subscriptions: Sequence[SubscriptionStatus],
    *,
    spooled: int = 0,
    stalled_after: float = STALLED_SECONDS,
    abandoned_after: float = ABANDONED_SECONDS,
) -> Verdict:
    """
    Judge all subscriptions of a store.

    Args:
        spooled: Bytes that wait in the local spool.
        stalled_after: Seconds without any movement, while events wait and workers live, that count as a standstill.
        abandoned_after: Seconds that events may wait while no live worker runs their subscription.
    """
    stalled = [
        reason
        for one in subscriptions
        if not one.paused and (reason := _standstill(one, stalled_after, abandoned_after))
    ]
    degraded = [reason for one in subscriptions for reason in _defects(one)]
    if spooled:
        degraded.append(f"the spool of this machine holds {spooled} bytes of events that are not in the store yet")
    if stalled:
        return Verdict(Health.STALLED, (*stalled, *degraded))
    return Verdict(Health.DEGRADED if degraded else Health.OK, tuple(degraded))


def _standstill(one: SubscriptionStatus, stalled_after: float, abandoned_after: float) -> str | None:
    waiting = one.waiting_seconds
    if waiting is None:
        return None
    if one.workers == 0:
        if waiting <= abandoned_after:
            return None
        return f"{one.name}: {_events(one)} wait, for {_seconds(waiting)}, and no live worker runs it"
    idle = one.idle_seconds
    # Both: after a quiet night the last movement is old, and the first event in the morning has just come.
    if waiting <= stalled_after or (idle is not None and idle <= stalled_after):
        return None
    since = "ever" if idle is None else f"for {_seconds(idle)}"
    return f"{one.name}: {_events(one)} wait, {one.workers} workers live, and nothing has moved {since}"


def _defects(one: SubscriptionStatus) -> Iterator[str]:
    if one.paused and one.lag:
        yield f"{one.name}: paused, and {_events(one)} wait"
    if one.dead:
        yield f"{one.name}: {one.dead} dead (holdfast dead list --subscription {one.name})"
    if one.tripped:
        yield (
            f"{one.name}: the breaker is open in {one.tripped} of {one.workers} workers: too many different events "
            f"failed in a row; it probes by itself (holdfast events --status failed)"
        )
    if one.retrying:
        yield f"{one.name}: {one.retrying} retrying"
    if one.blocks_retention:
        yield f"{one.name}: keeps events beyond their retention from being dropped"


def _events(one: SubscriptionStatus) -> str:
    bound = "at least " if one.backlog_at_least else ""
    return f"{bound}{one.lag} event{'' if one.lag == 1 else 's'}"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
