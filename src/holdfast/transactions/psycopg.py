"""Connections of psycopg 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import PipelineStatus
from psycopg.rows import tuple_row
from psycopg.types.bool import BoolLoader
from psycopg.types.string import StrDumper, TextLoader

from holdfast.transactions import libpq
from holdfast.transactions.caller import Caller, cause_in_postgres, failed, from_postgres
from holdfast.transactions.placeholders import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.transactions import Database

Rows = list[tuple[Any, ...]]


class PsycopgCaller(Caller):
    """`psycopg.Connection`."""

    def __init__(self, connection: psycopg.Connection[Any], _: Database) -> None:
        self._connection = connection

    def require_transaction(self) -> None:
        libpq.require_transaction(self._connection)

    def run_sync(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        try:
            if _hides_its_state(self._connection):
                with self._connection.pipeline():
                    self.require_transaction()
            # Not connection.cursor(): its class and its rows are the caller's choice.
            with psycopg.Cursor(self._connection, row_factory=tuple_row) as cursor:
                _load_plainly(cursor)
                return cursor.execute(render(sql, "pyformat").text, parameters).fetchall()
        except psycopg.errors.PipelineAborted as error:
            raise failed(str(error)) from error
        except psycopg.Error as error:
            raise from_postgres(error) from cause_in_postgres(error)


class AsyncPsycopgCaller(Caller):
    """`psycopg.AsyncConnection`."""

    is_async = True

    def __init__(self, connection: psycopg.AsyncConnection[Any], _: Database) -> None:
        self._connection = connection

    def require_transaction(self) -> None:
        libpq.require_transaction(self._connection)

    async def run(self, sql: str, parameters: Mapping[str, str]) -> Rows:
        try:
            if _hides_its_state(self._connection):
                async with self._connection.pipeline():
                    self.require_transaction()
            async with psycopg.AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
                _load_plainly(cursor)
                await cursor.execute(render(sql, "pyformat").text, parameters)
                return await cursor.fetchall()
        except psycopg.errors.PipelineAborted as error:
            raise failed(str(error)) from error
        except psycopg.Error as error:
            raise from_postgres(error) from cause_in_postgres(error)


def _hides_its_state(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Inside a pipeline nobody knows whether a transaction is open until a sync, which entering another one does."""
    pipelined = connection.pgconn.pipeline_status != PipelineStatus.OFF
    return pipelined and connection.autocommit and connection.info.transaction_status == libpq.ACTIVE


def _load_plainly(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Text and booleans come and go as such, whatever types the caller has registered."""
    adapters = cursor.adapters
    adapters.register_dumper(str, StrDumper)
    adapters.register_loader("text", TextLoader)
    adapters.register_loader("bool", BoolLoader)
