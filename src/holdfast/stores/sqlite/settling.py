"""Outcomes of many events, written in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.stores.sqlite.leasing import advance_parameters, held
from holdfast.stores.sqlite.publishing import append_parameters
from holdfast.stores.sqlite.rows import id_text, json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread
    from holdfast.stores.values import Attempt, Parked, Revised, Settlement, Slice


class Settling:
    """The part of the SQLite store that writes what became of deliveries."""

    _writer: SessionThread

    async def settle(self, settlement: Settlement) -> set[Slice]:
        return await self._writer.run(settle, settlement)


def settle(session: Session, settlement: Settlement) -> set[Slice]:
    with session.write():
        ours = held(session, settlement.epochs)
        for (subscription, _, attempts), ids in settlement.receipts.items():
            write_receipts(session, "settle_receipts", subscription, attempts, ids)
        for (subscription, partition), event_id, _, attempts, _ in settlement.replaced:
            if (subscription, partition) in ours:
                write_receipts(session, "settle_replaced", subscription, attempts, [event_id])
        _settle_deliveries(session, settlement, ours)
        now = session.now()
        session.each("append_one", [append_parameters(event, now) for one, event in settlement.events if one in ours])
        session.each(
            "settle_advances",
            [advance_parameters(one, now) for one in settlement.advances if one.slice in ours],
        )
    return settlement.epochs.keys() - ours


def _settle_deliveries(session: Session, settlement: Settlement, ours: set[Slice]) -> None:
    session.each(
        "settle_finished",
        [
            {"delivery": one.delivery, "claim": one.claim, "subscription": one.slice.subscription}
            for one in settlement.finished
            if one.slice in ours
        ],
    )
    session.each(
        "settle_revised", [revised_parameters(session, one) for one in settlement.revised if one.slice in ours]
    )
    session.each("settle_parked", [parked_parameters(session, one) for one in settlement.parked if one.slice in ours])
    session.each(
        "settle_attempts", [attempt_parameters(session, one) for one in settlement.attempts if one.slice in ours]
    )


def write_receipts(
    session: Session, statement: str, subscription: int, attempts: int, event_ids: Sequence[bytes]
) -> None:
    """Write receipts of one kind in bulk."""
    ids = json_text([id_text(one) for one in event_ids])
    session.count(statement, {"subscription": subscription, "attempts": attempts, "ids": ids, "now": session.now()})


def parked_parameters(session: Session, parked: Parked) -> dict[str, Any]:
    row = parked.row
    return {
        "subscription": parked.slice.subscription,
        "partition": parked.slice.partition,
        "event_id": id_text(row.id),
        "position": row.position,
        "tenant_id": row.tenant_id,
        "event_key": row.key,
        "event_name": row.name,
        "state": parked.state.value,
        "attempts": parked.attempts,
        "put_offs": parked.put_offs,
        "due_at": session.now(parked.due_in),
        "reason": parked.reason,
        "now": session.now(),
    }


def revised_parameters(session: Session, revised: Revised) -> dict[str, Any]:
    return {
        "delivery": revised.delivery,
        "claim": revised.claim,
        "subscription": revised.slice.subscription,
        "state": revised.state.value,
        "attempts": revised.attempts,
        "put_offs": revised.put_offs,
        "due_at": session.now(revised.due_in),
        "reason": revised.reason,
        "now": session.now(),
    }


def attempt_parameters(session: Session, attempt: Attempt) -> dict[str, Any]:
    return {
        "subscription": attempt.slice.subscription,
        "event_id": id_text(attempt.event_id),
        "attempt": attempt.attempt,
        "outcome": attempt.outcome,
        "error": attempt.error,
        "message": attempt.message,
        "traceback": attempt.traceback,
        "seconds": attempt.seconds,
        "now": session.now(),
        "an_hour_ago": session.now(-3600.0),
    }
