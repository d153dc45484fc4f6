"""Where a measurement happens: a fresh copy of a prepared database, so that each one starts from the same state."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from apart import apart
from buses import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


class Place(Protocol):
    """One kind of store. ``facts`` say what it runs on."""

    name: str
    facts: dict[str, str]

    def loaded(self, events: int, *, keep: bool = True) -> AbstractContextManager[str]:
        """The DSN of a fresh database that holds the subscription and so many unhandled events.

        Without *keep*, what was prepared for it is thrown away with it.
        """

    def close(self) -> None: ...


class PostgresPlace:
    """Databases on one server, each copied from a template.

    Args:
        dsn: Of a role that may create databases; none of those that exist is touched.
        where: What the report says of the server.
    """

    name = "postgresql"

    def __init__(self, dsn: str, where: str) -> None:
        self._dsn = dsn
        self._templates: dict[int, str] = {}
        self.facts = server_facts(dsn) | {"server": where}

    @contextmanager
    def loaded(self, events: int, *, keep: bool = True) -> Iterator[str]:
        if events not in self._templates:
            self._templates[events] = self._make_template(events)
        name = self._create(self._templates[events])
        try:
            self._checkpoint()
            yield self._dsn_of(name)
        finally:
            self._drop(name)
            if not keep:
                self._drop(self._templates.pop(events))

    def close(self) -> None:
        for name in self._templates.values():
            self._drop(name)

    def _make_template(self, events: int) -> str:
        name = self._create("template0")
        apart(load, self._dsn_of(name), events)
        with psycopg.connect(self._dsn_of(name), autocommit=True) as connection:
            connection.execute("create table bench_effects (event_id uuid not null)")
            connection.execute("vacuum analyze")
        return name

    def _create(self, template: str) -> str:
        name = f"holdfast_bench_{uuid4().hex[:12]}"
        self._run(f'create database "{name}" template "{template}"')
        return name

    def _drop(self, name: str) -> None:
        self._run(f'drop database if exists "{name}" with (force)')

    def _checkpoint(self) -> None:
        """Before each measurement, lest one of them meets it; roles without the right do without."""
        try:
            self._run("checkpoint")
        except psycopg.errors.InsufficientPrivilege:
            self.facts["checkpoints"] = "not forced before measurements (the role may not)"

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement)

    def _dsn_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._dsn)._replace(path=f"/{name}"))


class SQLitePlace:
    """Files in one folder, each copied from a prepared one."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._templates: dict[int, Path] = {}
        self.facts = {"version": f"SQLite {sqlite3.sqlite_version}", "journal": "WAL, synchronous=FULL"}

    @contextmanager
    def loaded(self, events: int, *, keep: bool = True) -> Iterator[str]:
        if events not in self._templates:
            self._templates[events] = self._make_template(events)
        path = self._folder / f"{uuid4().hex}.db"
        shutil.copyfile(self._templates[events], path)
        try:
            yield f"sqlite:///{path}"
        finally:
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()
            if not keep:
                self._templates.pop(events).unlink()

    def close(self) -> None:
        for path in self._templates.values():
            path.unlink()

    def _make_template(self, events: int) -> Path:
        path = self._folder / f"template-{events}.db"
        apart(load, f"sqlite:///{path}", events)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("create table bench_effects (event_id text not null)")
        connection.execute("analyze")
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.close()
        return path


def server_facts(dsn: str) -> dict[str, str]:
    settings = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("select version()").fetchone()
        assert row is not None
        version = row[0].split(" on ")[0]
        shown = {one: connection.execute(f"show {one}").fetchone() for one in settings}
    return {"version": version} | {one: str(found[0]) for one, found in shown.items() if found is not None}
