"""What waits for its time: events that were published for later, and schedules. What a store keeps of them, and promises."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from holdfast.event import NewEvent
    from holdfast.schedule import Firing, Schedule

logger = logging.getLogger("holdfast.store")


class Standing(NamedTuple):
    """
    How a schedule stands, as the store has it.

    Attributes:
        next_at: The first of its times that has not become an event.
        not_before: When it was made, or last resumed: times before that are not made up for.
    """

    schedule: Schedule
    next_at: datetime
    not_before: datetime


@dataclass(frozen=True, slots=True)
class ScheduledRecord:
    """A scheduled event, as people look at it. `refused_at`: it was due, and another event has its id."""

    event_id: UUID
    due_at: datetime
    published_at: datetime
    tenant_id: str
    name: str
    key: str | None
    refused_at: datetime | None


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """
    A schedule, as people look at it. `next_at`: the first of its times that has not become an event; `last_at`: the last
    that has.
    """

    name: str
    rule: str
    zone: str
    missed: str
    tenant_id: str
    next_at: datetime
    last_at: datetime | None
    paused_at: datetime | None
    paused_by: str | None


class Scheduling(Protocol):
    """
    The part of `holdfast.stores.base.Store` that keeps what waits for its time. Its clock is the database's.

    A **scheduled event** is one that was appended with ``due_at``: it is durable, and in no subscription's way, until
    `publish_due` puts it into the log. It is not in the log before that, so that retention, lag and cursors know nothing of it.
    """

    async def next_scheduled(self) -> float | None:
        """Seconds until the next scheduled event is due, negative where one is overdue; None where there is none."""
        ...

    async def publish_due(self, limit: int) -> int:
        """
        Move up to *limit* scheduled events that are due into the log, the earliest first, in one transaction.

        What another worker is moving just now is passed over. One whose id is in the log by now is dropped if it is the
        same event; otherwise it stays, refused and out of the way, until somebody cancels it.

        Returns:
            How many wait no more, the refused ones among them.
        """
        ...

    async def cancel(self, event_id: UUID) -> bool:
        """Forget a scheduled event. False: it does not wait (any more)."""
        ...

    async def reschedule(self, event_id: UUID, due_at: datetime) -> bool:
        """Change when a scheduled event is due. False: it does not wait (any more)."""
        ...

    async def add_schedules(self, schedules: Sequence[tuple[Schedule, datetime]]) -> None:
        """
        Make schedules durable, each with its next time. Of one that is known, the latest rule, zone, policy and tenant
        hold; its next time stays, unless rule or zone have changed.
        """
        ...

    async def schedules(self, names: Collection[str]) -> tuple[datetime, list[Standing]]:
        """The store's time, and those of the schedules *names* that are not paused."""
        ...

    async def advance_schedule(self, standing: Standing, firing: Firing, events: Sequence[NewEvent]) -> bool:
        """
        Store *events*, one for each time of *firing*, and move the schedule on, in one transaction, unless it is not where
        *standing* says: another worker was quicker, or it was paused. Returns whether anything was written.
        """
        ...


def log_refused(event: NewEvent) -> None:
    """Say that *event* cannot come into the log."""
    logger.error(
        "scheduled event %s (%s) is due and cannot be published: another event has its id; it stays where it is until "
        "somebody cancels it (holdfast scheduled)", event.id, event.name,
    )  # fmt: skip
