"""Connections of psycopg2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2.extensions import cursor as plain_cursor  # type: ignore[import-untyped]

from holdfast.transactions import libpq
from holdfast.transactions.caller import Caller, cause_in_postgres, from_postgres
from holdfast.transactions.placeholders import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.transactions import Database


class Psycopg2Caller(Caller):
    """`psycopg2.extensions.connection`, in its synchronous mode."""

    def __init__(self, connection: Any, _: Database) -> None:
        self._connection = connection

    def require_transaction(self) -> None:
        libpq.require_transaction(self._connection)

    def run_sync(self, sql: str, parameters: Mapping[str, str]) -> list[tuple[Any, ...]]:
        try:
            with self._connection.cursor(cursor_factory=plain_cursor) as cursor:
                cursor.execute(render(sql, "pyformat").text, parameters)
                rows: list[tuple[Any, ...]] = cursor.fetchall()
                return rows
        except psycopg2.Error as error:
            raise from_postgres(error) from cause_in_postgres(error)
