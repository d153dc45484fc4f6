"""Outcomes of many events, written by the simulated store in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.stores.values import Receipt, Slice, State
from tests.simulation.store_deliveries import Deliveries
from tests.simulation.store_leases import Leasing
from tests.simulation.store_log import insert_events
from tests.simulation.tables import AttemptRow, DeliveryRow, ReceiptRow
from tests.simulation.wire import Pause

if TYPE_CHECKING:
    from collections.abc import Generator

    from holdfast.stores.values import Attempt, Finished, Parked, Revised, Settlement

_HOUR = 3600.0


class Settling(Deliveries, Leasing):
    """The part of the simulated store that writes what became of deliveries."""

    async def settle(self, settlement: Settlement) -> set[Slice]:
        return await self._wire.call("settle", self._settle(settlement))

    def _settle(self, settlement: Settlement) -> Generator[Pause, None, set[Slice]]:
        server = self._server
        with server.begin(self._wire.client) as transaction:
            held = transaction.fence(settlement.epochs)
            for lost in settlement.epochs.keys() - held:
                server.note("fenced", (lost, settlement.epochs[lost]))
            yield Pause.ROUND_TRIP
            events = [event for slice_, event in settlement.events if slice_ in held]
            while server.is_locked([("event", event.id.bytes) for event in events]):
                yield Pause.BLOCKED
            insert_events(transaction, events, atomic=False)
            yield Pause.ROUND_TRIP  # the commit is a message of its own
            transaction.write(lambda: self._write(settlement, held))
            transaction.commit()
        return set(settlement.epochs) - held

    def _write(self, settlement: Settlement, held: set[Slice]) -> None:
        for (subscription, day, attempts), event_ids in settlement.receipts.items():
            for event_id in event_ids:
                self._add_receipt(Receipt(Slice(subscription, -1), event_id, day, attempts))
        for receipt in settlement.replaced:
            if receipt.slice in held:
                self.replace_receipt(receipt)
        for finished in settlement.finished:
            if finished.slice in held:
                self._finish(finished, settlement.epochs[finished.slice])
        for revised in settlement.revised:
            if revised.slice in held:
                self._revise(revised, settlement.epochs[revised.slice])
        for parked in settlement.parked:
            if parked.slice in held:
                self._park(parked, settlement.epochs[parked.slice])
        for attempt in settlement.attempts:
            if attempt.slice in held:
                self._record(attempt)
        for advance in settlement.advances:
            if advance.slice in held:
                self.advance(advance)
                stood = self._server.tables.leases[advance.slice].epoch
                self._server.note("cursor", (advance.slice, settlement.epochs[advance.slice], stood))

    def _add_receipt(self, receipt: Receipt) -> None:
        key = receipt.slice.subscription, receipt.event_id
        if key not in self._server.tables.receipts:
            self.replace_receipt(receipt)

    def replace_receipt(self, receipt: Receipt) -> None:
        key = receipt.slice.subscription, receipt.event_id
        self._server.tables.receipts[key] = ReceiptRow(receipt.attempts, self._server.clock())
        self._server.note("receipt", receipt)

    def _finish(self, finished: Finished, epoch: int) -> None:
        row = self._server.tables.deliveries.get(finished.delivery)
        if row is not None and (row.state, row.claim) == (State.RUNNING, finished.claim):
            self._server.tables.drop_delivery(row)
            self.note_delivery(row, epoch)

    def _revise(self, revised: Revised, epoch: int) -> None:
        row = self._server.tables.deliveries.get(revised.delivery)
        if row is None or (row.state, row.claim) != (State.RUNNING, revised.claim):
            return
        row.state, row.attempts, row.put_offs = revised.state, revised.attempts, revised.put_offs
        row.due_at = self._server.clock() + revised.due_in
        row.reason = row.reason if revised.reason is None else revised.reason
        self.note_delivery(row, epoch)

    def _park(self, parked: Parked, epoch: int) -> None:
        if (parked.slice.subscription, parked.row.id) in self._server.tables.delivery_of:
            return
        due_at = self._server.clock() + parked.due_in
        row = DeliveryRow(
            0, parked.slice, parked.row, parked.state, parked.attempts, parked.put_offs, due_at, reason=parked.reason
        )
        self.add_delivery(row, epoch)

    def _record(self, attempt: Attempt) -> None:
        """An attempt that is on record already is the same settlement again, whose first answer was lost."""
        tables, now = self._server.tables, self._server.clock()
        same = _identity(attempt)
        if any(_identity(known.attempt) == same and known.finished_at > now - _HOUR for known in tables.attempts):
            return
        tables.attempts.append(AttemptRow(attempt, now))
        self._server.note("attempt", attempt)


def _identity(attempt: Attempt) -> tuple[object, ...]:
    return (
        attempt.slice.subscription, attempt.event_id, attempt.attempt, attempt.outcome, attempt.error, attempt.seconds
    )  # fmt: skip
