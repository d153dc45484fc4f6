"""Connections of asyncpg, plain or from its pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from holdfast.errors import NotInTransaction
from holdfast.transactions.caller import Caller, cause_in_postgres, closed, from_postgres
from holdfast.transactions.placeholders import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.transactions import Database


class AsyncpgCaller(Caller):
    """`asyncpg.Connection`. That a transaction has failed, only the server's answer to the statement tells."""

    is_async = True

    def __init__(self, connection: Any, _: Database) -> None:
        self._connection = connection

    def require_transaction(self) -> None:
        try:
            is_closed, is_open = self._connection.is_closed(), self._connection.is_in_transaction()
        except asyncpg.InterfaceError as error:  # given back to its pool
            raise closed() from error
        if is_closed:
            raise closed()
        if not is_open:
            raise NotInTransaction(
                "the connection given as tx= has no open transaction: nothing was published; "
                "open one (async with connection.transaction(): ...), or publish without tx="
            )

    async def run(self, sql: str, parameters: Mapping[str, str]) -> list[tuple[Any, ...]]:
        statement = render(sql, "numeric_dollar")
        try:
            rows = await self._connection.fetch(
                statement.text, *statement.arguments(parameters), record_class=asyncpg.Record
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise from_postgres(error) from cause_in_postgres(error)
        return [tuple(row) for row in rows]
