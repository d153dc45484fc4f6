"""What the figures of a store come to: OK, DEGRADED or STALLED. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from holdfast.wording import counted, lasted, sized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.stores.records import SpoolFolder, SubscriptionStatus

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
class Reason:
    """One thing that is not well: how bad it is by itself, what it is, what to do about it, and whose it is."""

    health: Health
    text: str
    fix: str
    subscription: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the whole is doing. `reasons`: the worst first; none when OK."""

    health: Health
    reasons: tuple[Reason, ...] = ()


def verdict(
    subscriptions: Sequence[SubscriptionStatus],
    *,
    spools: Sequence[SpoolFolder] = (),
    stalled_after: float = STALLED_SECONDS,
    abandoned_after: float = ABANDONED_SECONDS,
) -> Verdict:
    """
    Judge all subscriptions of a store.

    Args:
        spools: The local spools of the store.
        stalled_after: Seconds without any movement, while events wait and workers live, that count as a standstill.
        abandoned_after: Seconds that events may wait while no live worker runs their subscription.
    """
    stalled = [
        reason
        for one in subscriptions
        if not one.paused and (reason := _standstill(one, stalled_after, abandoned_after))
    ]
    degraded = [replace(reason, subscription=one.name) for one in subscriptions for reason in _defects(one)]
    degraded += [reason for spool in spools for reason in spool_reasons(spool)]
    reasons = (*stalled, *degraded)
    return Verdict(reasons[0].health if reasons else Health.OK, reasons)


def spool_reasons(spool: SpoolFolder) -> Iterator[Reason]:
    """What waits in a spool, and what it could not keep or hand over."""
    if spool.waiting_bytes:
        yield _degraded(
            f"the spool of this machine holds {sized(spool.waiting_bytes)} of events that are not in the store yet",
            "start a worker or publish here: it drains when the store can be reached",
        )
    if spool.refused:
        yield _degraded(
            f"{counted(spool.refused, 'event')} that the store refused in {spool.path}/quarantine.jsonl",
            "correct and publish them again, then move the file away; each line has the reason",
        )
    if spool.damaged:
        yield _degraded(
            f"{counted(spool.damaged, 'damaged piece')} of the spool in {spool.path}/corrupt-*.bin",
            "check that disk; publish again what can be read in them or is known to be missing, then move them away",
        )


def _standstill(one: SubscriptionStatus, stalled_after: float, abandoned_after: float) -> Reason | None:
    waiting = one.waiting_seconds
    if waiting is None:
        return None
    if one.workers == 0:
        if waiting <= abandoned_after:
            return None
        return Reason(
            Health.STALLED,
            f"{one.name}: {_waits(one)}, for {lasted(waiting)}, and no live worker runs it",
            f"start a worker that declares it, or forget it with  holdfast subscriptions remove {one.name}",
            one.name,
        )
    idle = one.idle_seconds
    # Both: after a quiet night the last movement is old, and the first event in the morning has just come.
    if waiting <= stalled_after or (idle is not None and idle <= stalled_after):
        return None
    since = "ever" if idle is None else f"for {lasted(idle)}"
    return Reason(
        Health.STALLED,
        f"{one.name}: {_waits(one)}, {counted(one.workers, 'live worker')}, and nothing has moved {since}",
        "look at the workers' logs for a handler that hangs, and restart them",
        one.name,
    )


def _defects(one: SubscriptionStatus) -> Iterator[Reason]:
    if one.paused and one.lag:
        yield _degraded(f"{one.name}: paused, and {_waits(one)}", f"go on with  holdfast resume {one.name}")
    if one.dead:
        yield _degraded(
            f"{one.name}: {one.dead} dead",
            f"look at them with  holdfast dead list --subscription {one.name}  and retry or discard them",
        )
    if one.tripped:
        yield _degraded(
            f"{one.name}: the breaker is open in {one.tripped} of {counted(one.workers, 'worker')}: too many different "
            f"events failed in a row",
            "it probes by itself; mend what they fail at, to be seen by  holdfast events --status failed",
        )
    if one.retrying:
        yield _degraded(
            f"{one.name}: {one.retrying} retrying", "wait; if it lasts, look at  holdfast events --status failed"
        )
    if one.let_go:
        yield _degraded(
            f"{one.name}: let go of {counted(one.let_go, 'event')} beyond retention within a day, {_BECAME[one.behind_retention]}",
            'see  holdfast audit --action "let go"  for which; what is archived is put back with  holdfast put-back FILE',
        )
    if one.near_retention:
        yield _degraded(
            f"{one.name}: retention comes near to events that it has not handled: they will be {_WILL_BE[one.behind_retention]}",
            catching_up(one.name),
        )
    elif one.blocks_retention:
        yield _degraded(
            f"{one.name}: keeps events beyond their retention from being dropped",
            catching_up(one.name),
        )


_BECAME = {"archive": "archived", "drop": "dropped", "hold": "before it was declared to hold them"}
_WILL_BE = {"archive": "archived", "drop": "dropped"}


def catching_up(name: str) -> str:
    """What to do about a subscription that keeps old events."""
    return f"let its workers catch up; if no program declares it any more  holdfast subscriptions remove {name}"


def _degraded(text: str, fix: str) -> Reason:
    return Reason(Health.DEGRADED, text, fix)


def _waits(one: SubscriptionStatus) -> str:
    return ("about " if one.backlog_estimated else "") + counted(one.lag, "event waits", "events wait")
