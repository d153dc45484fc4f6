"""The transactions that the simulated store lends to transactional handlers."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import LeaseLost, StoreBusy, StoreUnavailable
from holdfast.stores.values import State
from tests.simulation.server import Effect
from tests.simulation.store_settling import Settling
from tests.simulation.wire import Pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from holdfast.stores.values import Receipt
    from tests.simulation.server import Transaction

_LOCK_TIMEOUT, _IDLE_GRACE = 2.0, 5.0
_NOT_TO_RUN = frozenset({State.DEAD, State.DISCARDED})
_INSERT = "insert into effects values ("


class Connection:
    """What a handler gets: it can write effects, and publish with ``append_within``."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction

    def effect(self, effect: Effect) -> None:
        effects = self.transaction.server.tables.effects
        self.transaction.write(lambda: effects.append(effect))

    def execute(self, statement: str) -> None:
        """The one statement that the contract's handlers write their effects with."""
        assert statement.startswith(_INSERT), statement
        key = statement.removeprefix(_INSERT).strip("')")
        self.effect(Effect(key, b"", 0, 0))


@dataclass(slots=True)
class OpenTransaction:
    """See `holdfast.stores.base.HandlerTransaction`."""

    connection: Any
    passed: bool


class HandlerTransactions(Settling):
    """The part of the simulated store that ties handlers' writes to their receipts."""

    @asynccontextmanager
    async def transaction(
        self, receipt: Receipt, epoch: int, *, timeout: float = 300.0
    ) -> AsyncIterator[OpenTransaction]:
        transaction = await self._wire.call("transaction", self._first_receipt(receipt, epoch, timeout))
        if transaction is None:
            yield OpenTransaction(None, passed=True)
            return
        with transaction:
            yield OpenTransaction(Connection(transaction), passed=False)
            await self._wire.call("commit", self._commit(transaction, receipt, epoch))

    @contextmanager
    def transaction_sync(self, receipt: Receipt, epoch: int, *, timeout: float = 300.0) -> Iterator[OpenTransaction]:
        transaction = self._wire.call_sync("transaction", self._first_receipt(receipt, epoch, timeout))
        if transaction is None:
            yield OpenTransaction(None, passed=True)
            return
        with transaction:
            yield OpenTransaction(Connection(transaction), passed=False)
            self._wire.call_sync("commit", self._commit(transaction, receipt, epoch))

    def _first_receipt(
        self, receipt: Receipt, epoch: int, timeout: float
    ) -> Generator[Pause, None, Transaction | None]:
        """The receipt, before the handler's writes; None: there is nothing to run."""
        server, key = self._server, [("receipt", receipt.slice.subscription, receipt.event_id)]
        patience = server.clock() + _LOCK_TIMEOUT
        while server.is_locked(key):
            if server.clock() > patience:
                raise StoreBusy("another worker handles the event in a transaction of its own")
            yield Pause.BLOCKED
        if not self._may_handle(receipt, epoch):
            return None
        transaction = server.begin(self._wire.client)
        server.lock(transaction, key)
        transaction.idle_until = server.clock() + timeout + _IDLE_GRACE
        transaction.write(lambda: self._write_receipt(receipt, epoch))
        return transaction

    def _may_handle(self, receipt: Receipt, epoch: int) -> bool:
        """Under the epoch, as far as can be seen without the lock; a replay takes its delivery row along."""
        tables = self._server.tables
        key = receipt.slice.subscription, receipt.event_id
        row = tables.delivery_of.get(key)
        if not tables.is_held(receipt.slice, epoch):
            return False
        if receipt.replaces:
            return row is not None and row.state is State.RUNNING
        return key not in tables.receipts and not (row is not None and row.state in _NOT_TO_RUN)

    def _write_receipt(self, receipt: Receipt, epoch: int) -> None:
        row = self._server.tables.delivery_of.get((receipt.slice.subscription, receipt.event_id))
        if receipt.replaces and row is not None:
            self._server.tables.drop_delivery(row)
            self.note_delivery(row, epoch)
        self.replace_receipt(receipt)

    def _commit(self, transaction: Transaction, receipt: Receipt, epoch: int) -> Generator[Pause, None, None]:
        if not transaction.is_open:
            raise StoreUnavailable("the server has ended the handler's transaction")
        if not transaction.fence({receipt.slice: epoch}):
            transaction.roll_back()
            self._server.note("fenced", (receipt.slice, epoch))
            raise LeaseLost(str(receipt.slice.subscription), receipt.slice.partition, epoch)
        transaction.idle_until = None
        yield Pause.WORK
        transaction.commit()
