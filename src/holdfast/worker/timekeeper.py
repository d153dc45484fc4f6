"""What is due: scheduled events come into the log, and the times of schedules become events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import HoldfastError
from holdfast.event import NewEvent
from holdfast.schedule import firing
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from holdfast.counts import WorkerCounts
    from holdfast.schedule import Schedule
    from holdfast.stores.base import Store
    from holdfast.stores.scheduling import Standing

DUE_AT_ONCE = 64
"""Scheduled events that come into the log in one transaction; all of them are in memory, however large they are."""
_LOOK_SECONDS = 1.0  # other processes schedule events without telling
_RIVAL_SECONDS = 0.05  # another worker has what is due in hand


class Timekeeper:
    """
    Runs until it is cancelled. Every worker does this: whoever comes first makes an event of what is due, once.

    Args:
        store: Its clock says what is due.
        schedules: Those that this program has declared, by name; the only ones that it looks after.
        new_id: Makes ids of events.
        stored: Called when there is something new in the log.
        counts: The worker's.
    """

    def __init__(
        self, store: Store, schedules: Mapping[str, Schedule], new_id: Callable[[], UUID], stored: Callable[[], None],
        counts: WorkerCounts,
    ) -> None:  # fmt: skip
        self._store, self._schedules, self._new_id, self._stored = store, schedules, new_id, stored
        self._soon = asyncio.Event()
        self._outage = Outage("what is due waits", "what is due is published", counts)

    def hurry(self) -> None:
        """Something was scheduled by this process: look again at once."""
        self._soon.set()

    async def run(self) -> None:
        while True:
            pause = _LOOK_SECONDS
            try:
                pause = min(await self._publish_due(), await self._fire())
            except HoldfastError as error:
                self._outage.met(error)
            else:
                self._outage.over()
            try:
                async with asyncio.timeout(max(0.0, pause)):
                    await self._soon.wait()
            except TimeoutError:
                pass
            self._soon.clear()

    async def _publish_due(self) -> float:
        """Seconds until the next scheduled event is due."""
        while (left := await self._store.next_scheduled()) is not None and left <= 0:
            if not await self._store.publish_due(DUE_AT_ONCE):
                return _RIVAL_SECONDS
            await self._tell()
        return _LOOK_SECONDS if left is None else left

    async def _fire(self) -> float:
        """Seconds until the next time of a schedule."""
        if not self._schedules:
            return _LOOK_SECONDS
        now, standing = await self._store.schedules(list(self._schedules))
        left = _LOOK_SECONDS
        for one in standing:
            next_at = one.next_at
            if next_at <= now:
                next_at = await self._advance(one, now)
            left = min(left, (next_at - now).total_seconds())
        return left

    async def _advance(self, one: Standing, now: datetime) -> datetime:
        """The time after those that are over."""
        known = one.schedule
        due = firing(known.rule, known.zone, known.missed, next_at=one.next_at, now=now, not_before=one.not_before)
        events = [self._event(known, moment) for moment in due.times]
        if await self._store.advance_schedule(one, due, events) and events:
            await self._tell()
        return due.next_at

    def _event(self, schedule: Schedule, due_at: datetime) -> NewEvent:
        payload = {"schedule": schedule.name, "due_at": due_at}
        # Its key: one run comes after the other, unless the subscription asks for no order.
        return NewEvent(
            self._new_id(), schedule.tenant_id, schedule.event_name, schedule.name, msgspec.json.encode(payload),
            is_new=True,
        )  # fmt: skip

    async def _tell(self) -> None:
        self._stored()
        await self._store.notify()
