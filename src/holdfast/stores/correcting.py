"""Correcting: a dead letter's event is published anew with another payload, and the dead letter is settled.

An event is a fact and never changes. What should have been said is a fact of its own: it has the tenant, key and name of
the first, names it as its cause, and says who wrote it. Every subscription of that name gets it.
"""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

from holdfast.composing import compose
from holdfast.encrypted import is_sealed
from holdfast.errors import BusStateError, ConfigurationError, NotFound
from holdfast.event_types import VERSION_HEADER
from holdfast.ids import new_id
from holdfast.stores.filters import DeadFilter
from holdfast.stores.refusing import Refusing, record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from holdfast.event import NewEvent
    from holdfast.stores.keys import Sealing
    from holdfast.stores.records import DeadLetter
    from holdfast.stores.refusing import Action

PAYLOAD_BYTES_MAX = 2**20


async def as_they_are(events: Sequence[NewEvent]) -> Sequence[NewEvent]:
    return events


class Correcting(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that corrects."""

    sealed: Sealing = staticmethod(as_they_are)

    async def correct(
        self,
        subscription: str,
        event_id: UUID,
        payload: Any,
        *,
        actor: str,
        may_edit: bool = False,
        tenant_id: str | None = None,
        max_payload: int = PAYLOAD_BYTES_MAX,
    ) -> UUID:
        async with self.refusals(actor, "dead correct", subscription, {"event_id": str(event_id)}):
            if not may_edit:
                raise BusStateError(
                    f"event {event_id}: correcting dead letters is off; whoever answers for the store turns it on "
                    f"(may_edit=True, HOLDFAST_MAY_EDIT=1)"
                )
            letters = await self._inspector.dead(
                DeadFilter(subscription=subscription, event_id=event_id, tenant_id=tenant_id)
            )
            if not letters:
                raise NotFound(f"no dead letter of event {event_id} for {subscription!r} (any more)")
            if self.sealed is as_they_are and is_sealed(letters[0].payload):
                raise ConfigurationError(
                    f"event {event_id} is encrypted, and nothing here could encrypt another in its place: give the master "
                    f"keys (HOLDFAST_MASTER_KEYS_FILE)"
                )
            (event,) = await self.sealed([corrected(letters[0], payload, actor, limit=max_payload)])
            await self.perform(replace_dead(letters[0], event, actor))
        return event.id


def corrected(letter: DeadLetter, payload: Any, actor: str, *, limit: int) -> NewEvent:
    """
    The event that says what the dead letter's event should have said.

    Raises:
        InvalidEvent: The payload is none, or the event is one that another program put there against the rules.
    """
    cause = str(letter.event_id)
    before = letter.headers if isinstance(letter.headers, dict) else {}
    correlation = before.get("correlation_id")
    headers = {
        "correlation_id": correlation if isinstance(correlation, str) else cause,
        "causation_id": cause,
        "corrected_by": actor,
        "corrected_for": letter.subscription,
    }
    if isinstance(version := before.get(VERSION_HEADER), str):
        headers[VERSION_HEADER] = version  # who corrects a payload keeps to the version that it has
    return compose(
        letter.name, payload, tenant_id=letter.tenant_id, key=letter.key, event_id=new_id(), headers=headers,
        occurred_at=None, cause=None, limit=limit,
    )  # fmt: skip


def replace_dead(letter: DeadLetter, event: NewEvent, actor: str) -> Action[None]:
    """Settle the dead letter and store the other event, both or neither."""
    detail = {"event_id": str(letter.event_id), "corrected_as": str(event.id)}
    yield from record(actor, "dead correct", letter.subscription, detail=detail, count=1)
    if not (yield "discard_deliveries", {"deliveries": [letter.delivery], "held": False}):
        raise NotFound(
            f"event {letter.event_id} is not dead for {letter.subscription!r} any more: somebody was quicker"
        )
    yield "add_corrected", {
        "id": event.id, "tenant_id": event.tenant_id, "name": event.name, "key": event.key,
        "payload": event.payload.decode(), "headers": (event.headers or b"{}").decode(),
    }  # fmt: skip
    yield "bump_generation", {}
