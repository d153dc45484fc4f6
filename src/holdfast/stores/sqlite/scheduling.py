"""What waits for its time, in SQLite: scheduled events on their way into the log, and schedules."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.event import NewEvent
from holdfast.schedule import Schedule
from holdfast.stores.scheduling import Standing, log_refused
from holdfast.stores.sqlite.publishing import append_one
from holdfast.stores.sqlite.rows import json_text, time_text
from holdfast.stores.values import Appended

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from holdfast.schedule import Firing
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread


class Scheduling:
    """The part of the SQLite store that keeps what waits for its time."""

    _writer: SessionThread
    _lookup: SessionThread

    async def next_scheduled(self) -> float | None:
        return await self._lookup.run(next_scheduled)

    async def publish_due(self, limit: int) -> int:
        return await self._writer.run(publish_due, limit)

    async def cancel(self, event_id: UUID) -> bool:
        return await self._writer.run(change_scheduled, "cancel_scheduled", {"id": str(event_id)})

    async def reschedule(self, event_id: UUID, due_at: datetime) -> bool:
        moved = {"id": str(event_id), "due_at": time_text(due_at)}
        return await self._writer.run(change_scheduled, "reschedule", moved)

    async def add_schedules(self, schedules: Sequence[tuple[Schedule, datetime]]) -> None:
        await self._writer.run(add_schedules, schedules)

    async def schedules(self, names: Collection[str]) -> tuple[datetime, list[Standing]]:
        return await self._lookup.run(standing_schedules, names)

    async def advance_schedule(self, standing: Standing, firing: Firing, events: Sequence[NewEvent]) -> bool:
        return await self._writer.run(advance_schedule, standing, firing, events)


def next_scheduled(session: Session) -> float | None:
    row = session.row("next_scheduled")
    return None if row is None else session.seconds_until(row[0])


def publish_due(session: Session, limit: int) -> int:
    with session.write():
        now = session.now()
        events = [_event(row) for row in session.rows("take_scheduled", now=now, limit=limit)]
        for event in events:
            if append_one(session, event, now) is Appended.CONFLICT:
                session.count("refuse_scheduled", {"id": str(event.id), "now": now})
                log_refused(event)
            else:
                session.count("drop_scheduled", {"id": str(event.id)})
        return len(events)


def change_scheduled(session: Session, statement: str, parameters: dict[str, str]) -> bool:
    with session.write():
        return session.row(statement, **parameters) is not None


def add_schedules(session: Session, schedules: Sequence[tuple[Schedule, datetime]]) -> None:
    with session.write():
        for one, next_at in schedules:
            session.count(
                "add_schedule",
                {
                    "name": one.name, "rule": one.rule, "zone": one.zone, "missed": one.missed,
                    "tenant_id": one.tenant_id, "next_at": time_text(next_at), "now": session.now(),
                },
            )  # fmt: skip


def standing_schedules(session: Session, names: Collection[str]) -> tuple[datetime, list[Standing]]:
    rows = session.rows("standing_schedules", names=json_text(list(names)))
    return datetime.fromisoformat(session.now()), [
        Standing(Schedule(*row[:5]), datetime.fromisoformat(row[5]), datetime.fromisoformat(row[6])) for row in rows
    ]


def advance_schedule(session: Session, standing: Standing, firing: Firing, events: Sequence[NewEvent]) -> bool:
    moved = {
        "name": standing.schedule.name, "seen": time_text(standing.next_at), "next_at": time_text(firing.next_at),
        "last_at": time_text(firing.times[-1]) if firing.times else None,
    }  # fmt: skip
    with session.write():
        if session.count("advance_schedule", moved) != 1:
            return False
        now = session.now()
        for event in events:
            append_one(session, event, now)
        return True


def _event(row: tuple[Any, ...]) -> NewEvent:
    event_id, occurred_at, tenant_id, name, key, payload, headers = row
    return NewEvent(
        UUID(event_id), tenant_id, name, key, payload.encode(), None if headers is None else headers.encode(),
        None if occurred_at is None else datetime.fromisoformat(occurred_at),
    )  # fmt: skip
