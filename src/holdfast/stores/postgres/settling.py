"""Outcomes of many events, written in one transaction."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from holdfast.stores.postgres import arrays
from holdfast.stores.postgres.leasing import advance_parameters
from holdfast.stores.postgres.pipelines import pipelined
from holdfast.stores.postgres.publishing import columns
from holdfast.stores.postgres.session import fence_parameters
from holdfast.stores.values import Receipts, Slice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from holdfast.stores.postgres.session import Session, Statement
    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Attempt, Parked, Revised, Settlement


class Settling:
    """The part of the PostgreSQL store that writes what became of deliveries."""

    _statements: Statements
    _settle: Session

    async def settle(self, settlement: Settlement) -> set[Slice]:
        receipts: list[Statement] = []
        if settlement.receipts:
            receipts = [(self._statements["settle_receipts"], receipt_parameters(settlement.receipts))]
        if receipts and not settlement.epochs:
            await self._settle.run(*receipts[0])
            return set()
        async with self._settle.transaction() as connection:
            held: set[Slice] = set()
            if settlement.epochs:
                # A statement of its own: those after it see what the owner before had committed.
                cursor = await connection.execute(self._statements["fence"], fence_parameters(settlement.epochs))
                held = {Slice(*row) for row in await cursor.fetchall()}
            async with pipelined(connection):
                for sql, parameters in (*receipts, *self._fenced(settlement, held)):
                    await connection.execute(sql, parameters)
        return settlement.epochs.keys() - held

    def _fenced(self, settlement: Settlement, held: set[Slice]) -> Iterator[Statement]:
        statements = self._statements
        replaced: dict[Receipts, list[bytes]] = defaultdict(list)
        for one in settlement.replaced:
            if one.slice in held:
                replaced[Receipts(one.slice.subscription, one.day, one.attempts)].append(one.event_id)
        for alike, ids in sorted(replaced.items()):
            yield statements["settle_replaced"], receipt_parameters({alike: ids})
        if finished := [one for one in settlement.finished if one.slice in held]:
            numbers = {"deliveries": [one.delivery for one in finished], "claims": [one.claim for one in finished]}
            yield statements["settle_finished"], numbers
        if revised := [one for one in settlement.revised if one.slice in held]:
            yield statements["settle_revised"], revised_parameters(revised)
        if parked := [one for one in settlement.parked if one.slice in held]:
            yield statements["settle_parked"], parked_parameters(parked)
        if attempts := [one for one in settlement.attempts if one.slice in held]:
            yield statements["settle_attempts"], attempt_parameters(attempts)
        if events := [event for one, event in settlement.events if one in held]:
            yield statements["append"], columns(events)
        if places := [one for one in settlement.advances if one.slice in held]:
            yield statements["settle_advances"], advance_parameters(places)


def receipt_parameters(receipts: Mapping[Receipts, Sequence[bytes]]) -> dict[str, Any]:
    # In one order, whoever writes: two owners who settle the same events could otherwise wait for each other.
    kinds = sorted(receipts)
    ends = list(accumulate((len(receipts[kind]) for kind in kinds), initial=0))
    return {
        "days": [kind.day for kind in kinds],
        "subscriptions": [kind.subscription for kind in kinds],
        "attempts": [kind.attempts for kind in kinds],
        "firsts": [end + 1 for end in ends[:-1]],
        "lasts": ends[1:],
        "ids": arrays.uuids([one for kind in kinds for one in sorted(receipts[kind])]),
    }


def revised_parameters(revised: Sequence[Revised]) -> dict[str, Any]:
    return {
        "deliveries": [one.delivery for one in revised],
        "claims": [one.claim for one in revised],
        "states": [one.state.value for one in revised],
        "attempts": [one.attempts for one in revised],
        "put_offs": [one.put_offs for one in revised],
        "due_in": [float(one.due_in) for one in revised],
        "reasons": [one.reason for one in revised],
    }


def parked_parameters(parked: Sequence[Parked]) -> dict[str, Any]:
    rows = [one.row for one in parked]
    return {
        "subscriptions": [one.slice.subscription for one in parked],
        "partitions": [one.slice.partition for one in parked],
        "ids": arrays.uuids([row.id for row in rows]),
        "days": [row.day for row in rows],
        "positions": [row.position for row in rows],
        "tenants": [row.tenant_id for row in rows],
        "keys": [row.key for row in rows],
        "names": [row.name for row in rows],
        "states": [one.state.value for one in parked],
        "attempts": [one.attempts for one in parked],
        "put_offs": [one.put_offs for one in parked],
        "due_in": [float(one.due_in) for one in parked],
        "reasons": [one.reason for one in parked],
    }


def attempt_parameters(attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {
        "subscriptions": [one.slice.subscription for one in attempts],
        "ids": arrays.uuids([one.event_id for one in attempts]),
        "days": [one.day for one in attempts],
        "attempts": [one.attempt for one in attempts],
        "outcomes": [one.outcome for one in attempts],
        "errors": [one.error for one in attempts],
        "messages": [one.message for one in attempts],
        "tracebacks": [one.traceback for one in attempts],
        "seconds": [float(one.seconds) for one in attempts],
    }
