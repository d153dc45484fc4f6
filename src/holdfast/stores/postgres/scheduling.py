"""What waits for its time, in PostgreSQL: scheduled events on their way into the log, and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.event import NewEvent, from_micros
from holdfast.schedule import Schedule
from holdfast.stores.postgres.publishing import Publishing, columns, id_list, without
from holdfast.stores.scheduling import Standing, log_refused
from holdfast.stores.values import Appended

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from holdfast.schedule import Firing
    from holdfast.stores.postgres.session import Connection, Session


class Scheduling(Publishing):
    """The part of the PostgreSQL store that keeps what waits for its time."""

    _work: Session

    async def next_scheduled(self) -> float | None:
        rows = await self._work.run(self._statements["next_scheduled"])
        return float(rows[0][0]) if rows else None

    async def publish_due(self, limit: int) -> int:
        async with self._work.transaction() as connection:
            cursor = await connection.execute(self._statements["take_scheduled"], {"limit": limit}, binary=True)
            events = [_event(row) for row in await cursor.fetchall()]
            if events:
                await self._put_into_log(connection, events)
            return len(events)

    async def _put_into_log(self, connection: Connection, events: Sequence[NewEvent]) -> None:
        await connection.execute(self._statements["lock_ids"], {"ids": id_list(events)})
        fresh, results = without(events, await self._existing(connection, events))
        if fresh:
            await connection.execute(self._statements["append"], columns(fresh), binary=True)
        refused = [event for event, result in zip(events, results, strict=True) if result is Appended.CONFLICT]
        if refused:
            await connection.execute(self._statements["refuse_scheduled"], {"ids": [event.id for event in refused]})
            for event in refused:
                log_refused(event)
        done = [event.id for event in events if event not in refused]
        await connection.execute(self._statements["drop_scheduled"], {"ids": done})

    async def cancel(self, event_id: UUID) -> bool:
        return bool(await self._work.run(self._statements["cancel_scheduled"], {"id": event_id}))

    async def reschedule(self, event_id: UUID, due_at: datetime) -> bool:
        return bool(await self._work.run(self._statements["reschedule"], {"id": event_id, "due_at": due_at}))

    async def add_schedules(self, schedules: Sequence[tuple[Schedule, datetime]]) -> None:
        for one, next_at in sorted(schedules, key=lambda pair: pair[0].name):
            await self._work.run(
                self._statements["add_schedule"],
                {
                    "name": one.name, "rule": one.rule, "zone": one.zone, "missed": one.missed,
                    "tenant_id": one.tenant_id, "next_at": next_at,
                },
            )  # fmt: skip

    async def schedules(self, names: Collection[str]) -> tuple[datetime, list[Standing]]:
        rows = await self._work.run(self._statements["standing_schedules"], {"names": list(names)})
        return from_micros(rows[0][0]), [
            Standing(Schedule(*row[1:6]), from_micros(row[6]), from_micros(row[7]))
            for row in rows
            if row[1] is not None
        ]

    async def advance_schedule(self, standing: Standing, firing: Firing, events: Sequence[NewEvent]) -> bool:
        moved = {
            "name": standing.schedule.name, "seen": standing.next_at, "next_at": firing.next_at,
            "last_at": firing.times[-1] if firing.times else None,
        }  # fmt: skip
        async with self._work.transaction() as connection:
            cursor = await connection.execute(self._statements["advance_schedule"], moved, binary=True)
            if await cursor.fetchone() is None:
                return False
            if events:
                await connection.execute(self._statements["append_new"], columns(events), binary=True)
            return True


def _event(row: tuple[Any, ...]) -> NewEvent:
    event_id, occurred_at, tenant_id, name, key, payload, headers = row
    return NewEvent(
        UUID(bytes=event_id), tenant_id, name, key, payload, headers,
        None if occurred_at is None else from_micros(occurred_at),
    )  # fmt: skip
