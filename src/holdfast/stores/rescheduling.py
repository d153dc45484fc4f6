"""The operator's actions on what waits for its time."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from holdfast.errors import NotFound
from holdfast.stores.refusing import Refusing, record

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from holdfast.stores.refusing import Action


class Rescheduling(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that is about scheduled events and schedules."""

    async def cancel_scheduled(self, event_id: UUID, *, actor: str) -> None:
        async with self.refusals(actor, "scheduled cancel", str(event_id)):
            await self.perform(change_scheduled("cancel", event_id, actor))

    async def reschedule(self, event_id: UUID, due_at: datetime, *, actor: str) -> None:
        async with self.refusals(actor, "scheduled move", str(event_id)):
            await self.perform(change_scheduled("move", event_id, actor, due_at))

    async def pause_schedule(self, name: str, *, actor: str) -> bool:
        return await self._change_schedule("pause", name, actor)

    async def resume_schedule(self, name: str, *, actor: str) -> bool:
        return await self._change_schedule("resume", name, actor)

    async def remove_schedule(self, name: str, *, actor: str) -> None:
        await self._change_schedule("remove", name, actor)

    async def _change_schedule(self, action: str, name: str, actor: str) -> bool:
        async with self.refusals(actor, f"schedule {action}", name):
            known = [one.name for one in await self._inspector.schedules()]
            if name not in known:
                raise NotFound(f"no schedule {name!r}: holdfast schedules  lists those there are")
            return await self.perform(change_schedule(action, name, actor))


def change_scheduled(action: str, event_id: UUID, actor: str, due_at: datetime | None = None) -> Action[None]:
    detail = {} if due_at is None else {"due_at": due_at.isoformat()}
    yield from record(actor, f"scheduled {action}", str(event_id), detail=detail, count=1)
    if due_at is None:
        found = yield "cancel_scheduled", {"id": event_id}
    else:
        found = yield "reschedule", {"id": event_id, "due_at": due_at}
    if not found:
        raise NotFound(f"event {event_id} does not wait for its time (any more): holdfast scheduled  lists what does")


def change_schedule(action: str, name: str, actor: str) -> Action[bool]:
    parameters = {"name": name} | ({"actor": actor} if action == "pause" else {})
    if not (yield f"{action}_schedule", parameters):
        return False
    yield from record(actor, f"schedule {action}", name, count=1)
    return True
