"""A pooler between us and the server: what one transaction has prepared there is not there for the next.

The driver prepares what it sends often. PgBouncer in transaction mode hands each transaction to any of its sessions, so
a prepared statement is missing, or there already (PgBouncer knows them since 1.21, where it is told to). A pooler shows
itself: it gives a connection a number of its own making instead of the server process's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

_WHO = "select pg_backend_pid()"


async def mind_pooler(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let *connection*, a new one, prepare nothing if a pooler is in between. One round trip."""
    found = await (await connection.execute(_WHO)).fetchone()
    _mind(connection, found)
    await connection.rollback()


def mind_pooler_sync(connection: psycopg.Connection[Any]) -> None:
    """The same for a blocking connection."""
    _mind(connection, connection.execute(_WHO).fetchone())
    connection.rollback()


def _mind(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any], found: Any) -> None:
    if found[0] != connection.info.backend_pid:
        connection.prepare_threshold = None
