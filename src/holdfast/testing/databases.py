"""Databases of PostgreSQL for tests: fresh ones on a server, and what was published to one."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

from holdfast.errors import MissingExtra
from holdfast.event import Event, Row, to_micros
from holdfast.stores import make_store
from holdfast.stores.sql import check_schema_name
from holdfast.testing.postgres import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAST = {"full_page_writes": "off", "shared_buffers": "64MB"}


@contextmanager
def server() -> Iterator[str]:
    """The DSN of a server where databases may be made: ``HOLDFAST_TEST_DSN``, else one that is started."""
    if given := os.environ.get("HOLDFAST_TEST_DSN"):
        yield given
        return
    with LocalPostgres(fsync=False, settings=_FAST) as local:
        yield local.dsn()


class Databases:
    """
    Fresh databases that have the tables of Holdfast: copies of one, which is faster than to make the tables in each.

    Args:
        server: The DSN of a server; its role needs CREATEDB.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._admin = connect(server)
        self._template = self._new_name()
        self._admin.execute(f'create database "{self._template}"')
        # In a thread: this one may have a loop that does not run at the moment.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _migrate(self._dsn(self._template))).result()

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The DSN of a database with nothing in its tables; dropped in the end, whoever is still connected."""
        name = self._new_name()
        self._admin.execute(f'create database "{name}" template "{self._template}"')
        try:
            yield self._dsn(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        self._drop(self._template)
        self._admin.close()

    def _drop(self, name: str) -> None:
        self._admin.execute(f'drop database if exists "{name}" with (force)')

    def _dsn(self, name: str) -> str:
        return urlunsplit(urlsplit(self._server)._replace(path=f"/{name}"))

    def _new_name(self) -> str:
        return f"holdfast_test_{uuid4().hex[:12]}"


def connect(dsn: str) -> Any:
    """A connection of psycopg in autocommit. Raises MissingExtra."""
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "psycopg", "postgres", "a test on PostgreSQL") from error
    return psycopg.connect(dsn, autocommit=True)


async def _migrate(dsn: str) -> None:
    store = make_store(dsn, timeout=30)
    try:
        await store.migrate()
    finally:
        await store.close()


class PostgresLog:
    """
    What is published to a database from now on.

    Args:
        dsn: The database.
        schema: Of the tables of Holdfast, which need not be there yet.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        check_schema_name(schema)
        self._dsn, self._log = dsn, f"{schema}.event_log"
        ((self._before,),) = self._rows(f"select coalesce(max(position), 0) from {self._log}") or [(0,)]

    def events(self) -> list[Event]:
        """In the order of the log. Blocks; from any thread."""
        return [
            _event(*row)
            for row in self._rows(
                "select position, id, slot, occurred_at, tenant_id, event_name, event_key, payload::text, headers::text "
                f"from {self._log} where position > %s order by position",
                self._before,
            )
        ]

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(connect(self._dsn)) as connection:
            if connection.execute("select to_regclass(%s)", [self._log]).fetchone() == (None,):
                return []  # nobody has made the tables yet
            found: list[tuple[Any, ...]] = connection.execute(query, values or None).fetchall()
            return found


def _event(
    position: int, id: UUID, slot: int, occurred_at: Any, tenant_id: str, name: str, key: str | None, payload: str,
    headers: str | None,
) -> Event:  # fmt: skip
    text = None if headers is None else headers.encode()
    return Event(Row(position, id.bytes, 0, slot, to_micros(occurred_at), tenant_id, name, key, payload.encode(), text))
