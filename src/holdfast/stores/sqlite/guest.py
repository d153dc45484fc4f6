"""The first use of a store through the caller's own transaction, which keeps every other connection from writing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import WrongStore
from holdfast.stores.sqlite.migrating import migrate, version_of
from holdfast.stores.sqlite.registration import is_registered, register
from holdfast.stores.sqlite.session import Session
from holdfast.stores.sqlite.version import SCHEMA_VERSION

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Declaration


class GuestSession(Session):
    """A session on somebody else's connection: what it writes commits, or is undone, with the owner's own."""

    __slots__ = ()

    @contextmanager
    def write(self) -> Iterator[None]:
        self.connection.execute("savepoint holdfast_guest")
        try:
            yield
        except BaseException:
            self.connection.execute("rollback to holdfast_guest")
            raise
        finally:
            self.connection.execute("release holdfast_guest")


def stands(session: Session, declarations: Sequence[Declaration]) -> bool:
    """Whether the tables are of this release, the file is in write-ahead mode, and *declarations* are registered."""
    ((mode,),) = session.connection.execute("pragma journal_mode").fetchall()
    return (
        mode == "wal"
        and version_of(session) == SCHEMA_VERSION
        and all(is_registered(session, one) for one in declarations)
    )


def set_up_within(
    guest: GuestSession, declarations: Sequence[Declaration], statements: Statements, path: str | None, where: str
) -> str:
    """
    Make the tables and register *declarations* in the owner's transaction, which begins if it has not.

    The file is not switched to write-ahead logging, which no transaction can do; the next to open the store does.

    Returns:
        The store's identity, good for this transaction only: it may never commit.

    Raises:
        WrongStore: The connection leads to another file than *path*.
        SchemaMismatch, IncompatibleSubscription, NotFound: As ever.
    """
    with _plain(guest.connection):
        _require_file(guest.connection, path, where)
        if not guest.connection.in_transaction:
            guest.connection.execute("begin immediate")
        migrate(guest, list(statements.migrations()), where)
        register(guest, declarations)
        row = guest.row("identity")
        assert row is not None
        return str(row[0])


@contextmanager
def _plain(connection: sqlite3.Connection) -> Iterator[None]:
    """Rows and texts as Python's module gives them, whatever the owner has set."""
    factories = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = factories


def _require_file(connection: sqlite3.Connection, path: str | None, where: str) -> None:
    file = next(file for _, name, file in connection.execute("pragma database_list") if name == "main")
    if path is None or not file or os.path.realpath(file) != os.path.realpath(path):
        raise WrongStore(
            f"the connection given as tx= leads to {file or 'a database in memory'} and not to {where}: nothing was "
            f"published; pass a connection to the bus's own database"
        )
