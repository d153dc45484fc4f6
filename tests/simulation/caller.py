"""A connection of the program's own to the simulated server: for ``tx=`` publishes, and for plain SQL ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.simulation.server import Server, Transaction

_MENTIONS = ("begin", "create table mine ", "insert into mine ")


class CallersConnection:
    """Begins a transaction at its first use, as drivers do outside of autocommit."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transaction: Transaction | None = None

    @property
    def transaction(self) -> Transaction:
        if self._transaction is None:
            self._transaction = self._server.begin(self)
        return self._transaction

    def execute(self, statement: str) -> None:
        """What a program does besides publishing: it can ask for its transaction's id before it needs one."""
        if statement == "select pg_current_xact_id()":
            self.transaction.id()
        else:
            assert statement.startswith(_MENTIONS), statement

    def commit(self) -> None:
        if self._transaction is not None:
            self._transaction.commit()
            self._transaction = None

    def rollback(self) -> None:
        if self._transaction is not None:
            self._transaction.roll_back()
            self._transaction = None

    close = rollback

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()
