"""Bringing a file's schema to this release."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from holdfast.errors import SchemaMismatch, WrongStore
from holdfast.stores.sqlite.errors import ERROR, result_code
from holdfast.stores.sqlite.version import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.stores.sql import Migration
    from holdfast.stores.sqlite.session import Session


def migrate(session: Session, migrations: Sequence[Migration], where: str) -> list[str]:
    """
    Apply what is missing, all in one transaction under the write lock: safe with any number of processes at once.

    Raises:
        SchemaMismatch: The file is newer than this release.
        WrongStore: Tables of another program have our names.
    """
    if version_of(session) == SCHEMA_VERSION:
        return []
    with session.write():
        found = version_of(session)
        if found > SCHEMA_VERSION:
            raise SchemaMismatch(where, found, SCHEMA_VERSION)
        missing = [migration for migration in migrations if migration.version > found]
        for migration in missing:
            _apply(session, migration, where)
    return [migration.title for migration in missing]


def version_of(session: Session) -> int:
    """Number of the newest migration applied; 0 for a file that has none."""
    (ours,) = session.connection.execute(
        "select count(*) from sqlite_master where name in ('event_log', 'schema_migrations')"
    ).fetchone()
    if ours < 2:
        return 0
    (version,) = session.connection.execute("select max(version) from schema_migrations").fetchone()
    return int(version or 0)


def _apply(session: Session, migration: Migration, where: str) -> None:
    try:
        for statement in split(migration.sql):
            session.connection.execute(statement)
    except sqlite3.Error as error:
        if result_code(error) == ERROR:
            raise WrongStore(
                f"{where}: migration {migration.title} cannot be applied: {error}; if the file belongs to another "
                f"program that has tables of these names, give Holdfast a file of its own"
            ) from error
        raise
    session.count("applied_migration", {"version": migration.version, "name": migration.title, "now": session.now()})


def split(script: str) -> Iterator[str]:
    """The statements of a script; a trigger with its inner semicolons is one."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
