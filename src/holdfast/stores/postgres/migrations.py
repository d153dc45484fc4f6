"""Bringing the schema to this release: numbered files, each in its own transaction, one migrator at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from holdfast.stores.postgres.errors import translated
from holdfast.stores.postgres.version import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.stores.postgres.session import Session
    from holdfast.stores.sql import Migration, Statements

_LOCK = 7026_0001  # any number that nobody else uses for advisory locks in the database
_BRIEFLY = "set local lock_timeout = '100ms'"
_PAUSE_S, _PATIENCE_S = 0.3, 600.0


def scripts(schema: str, statements: Statements) -> Iterator[tuple[Migration | None, str]]:
    """Every script of the schema in order; the first one, which is no migration, makes the schema itself."""
    yield (
        None,
        (
            f'create schema if not exists "{schema}";\n'
            f'create table if not exists "{schema}".schema_migrations (\n'
            f"    version integer primary key, name text not null, phase text not null,\n"
            f"    applied_at timestamptz not null default clock_timestamp()\n"
            f");\n"
        ),
    )
    for migration in statements.migrations():
        record = (
            f'insert into "{schema}".schema_migrations (version, name, phase)\n'
            f"values ({migration.version}, '{migration.name}', '{migration.phase}');\n"
        )
        yield migration, f"{migration.sql}\n{record}"


async def migrate(session: Session, schema: str, statements: Statements, where: str) -> list[str]:
    """
    Apply what is missing, in order; returns the names applied.

    Twenty at once are safe: the lock is held by the transaction of each step, and every step looks again.

    Raises:
        StoreBusy: Somebody has held a lock that a step needs for ten minutes.
    """
    applied: list[str] = []
    connection = await session.connect()
    with translated(where):
        async with connection:
            # A snapshot of the time before the lock was waited for would not show what the others have done.
            await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
            for migration, text in scripts(schema, statements):
                if await _step(connection, schema, migration, text) and migration is not None:
                    applied.append(migration.title)
    return applied


async def _step(connection: psycopg.AsyncConnection, schema: str, migration: Migration | None, text: str) -> bool:
    """
    Apply a step; False where it was there already.

    Tried again and again while somebody has a lock that it needs: who waits for such a lock keeps everybody waiting who
    comes later, and a handler may have one for minutes.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_S
    while True:
        try:
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
                await connection.execute(_BRIEFLY)
                if migration is not None and await _is_applied(connection, schema, migration.version):
                    return False
                await connection.execute(sql.SQL(text))
                return True
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if loop.time() > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)


async def is_current(session: Session, schema: str) -> bool:
    """
    Whether nothing is to be applied.

    Not even the schema is touched then: a role that does not own it may find that nothing is to be done.
    """
    table = f'"{schema}".schema_migrations'
    ((exists,),) = await session.run("select to_regclass(%(table)s) is not null", {"table": table})
    return exists and await session.run(f"select max(version) from {table}") == [(SCHEMA_VERSION,)]


async def _is_applied(connection: psycopg.AsyncConnection, schema: str, version: int) -> bool:
    cursor = await connection.execute(
        f'select from "{schema}".schema_migrations where version = %s',
        [version],
    )
    return await cursor.fetchone() is not None
