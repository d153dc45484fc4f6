"""Databases of the benchmark's own on one PostgreSQL server, each copied from a template."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict

from holdfast.bench.apart import apart
from holdfast.bench.loads import Load, fill
from holdfast.errors import ConfigurationError, PermissionDenied
from holdfast.stores.postgres.errors import translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bench.places import Kind

_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
_CONNECT_SECONDS = 10
_RECEIPTS_OF_HISTORY = """insert into holdfast.receipts (day, subscription, event_id)
    select e.day, s.id, e.id from holdfast.event_log as e
    join holdfast.subscriptions as s on pg_visible_in_snapshot(e.txid, s.start_snapshot)"""


class PostgresPlace:
    """
    A place of PostgreSQL; see `holdfast.bench.places.Place`.

    Args:
        dsn: Of a role that may create databases; none of those that exist is touched.
        where: What the report says of the server.

    Raises:
        ConfigurationError: The DSN cannot be read.
        StoreUnavailable: The server cannot be reached, or refuses the role.
    """

    name: Kind = "postgresql"

    def __init__(self, dsn: str, where: str) -> None:
        try:
            self._parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
        except psycopg.Error as error:
            raise ConfigurationError(f"the PostgreSQL DSN cannot be read: {error}") from error
        self._dsn = dsn
        self._where = f"the server at {self._parts.get('host', 'the local socket')}:{self._parts.get('port', '5432')}"
        self._templates: dict[Load, str] = {}
        self.facts = self._server_facts() | {"server": where}

    @contextmanager
    def loaded(self, load: Load, *, keep: bool = True) -> Iterator[str]:
        with self._copied(load) if keep else self._made(load) as name:
            self._checkpoint()
            yield self._dsn_of(name)

    def close(self) -> None:
        for name in self._templates.values():
            self._drop(name)

    @contextmanager
    def _copied(self, load: Load) -> Iterator[str]:
        if load not in self._templates:
            self._templates[load] = self._make(load)
        name = _new_name()
        try:
            self._create(name, self._templates[load])
            yield name
        finally:
            self._drop(name)

    @contextmanager
    def _made(self, load: Load) -> Iterator[str]:
        name = self._make(load)
        try:
            yield name
        finally:
            self._drop(name)

    def _make(self, load: Load) -> str:
        name = _new_name()
        try:
            self._create(name, "template0")
            apart(fill, self._dsn_of(name), load)
            with self._connection(self._dsn_of(name)) as connection:
                connection.execute("create table bench_effects (event_id uuid not null)")
                if load.history:
                    connection.execute(_RECEIPTS_OF_HISTORY)
                connection.execute("vacuum analyze")
        except BaseException:  # interrupted, too: nobody else knows its name yet
            self._drop(name)
            raise
        return name

    def _create(self, name: str, template: str) -> None:
        with self._connection() as connection:
            try:
                connection.execute(f'create database "{name}" template "{template}"')
            except psycopg.errors.InsufficientPrivilege as error:
                role = connection.info.user
                raise PermissionDenied(
                    f"the benchmark makes databases of its own, which the role {role!r} may not do on {self._where}: as a "
                    f'superuser run  alter role "{role}" createdb;  or name another role in --dsn',
                    error.sqlstate,
                ) from error

    def _drop(self, name: str) -> None:
        with self._connection() as connection:
            connection.execute(f'drop database if exists "{name}" with (force)')

    def _checkpoint(self) -> None:
        """Before each measurement, lest one of them meets it; roles without the right do without."""
        with self._connection() as connection:
            try:
                connection.execute("checkpoint")
            except psycopg.errors.InsufficientPrivilege:
                self.facts["checkpoints"] = "not forced before measurements (the role may not)"

    def _server_facts(self) -> dict[str, str]:
        with self._connection() as connection:
            shown = {one: connection.execute(f"show {one}").fetchone() for one in ("server_version", *_SETTINGS)}
        facts = {one: str(found[0]) for one, found in shown.items() if found is not None}
        return {"version": f"PostgreSQL {facts.pop('server_version')}", "psycopg": psycopg.__version__} | facts

    @contextmanager
    def _connection(self, dsn: str | None = None) -> Iterator[psycopg.Connection]:
        try:
            with psycopg.connect(dsn or self._dsn, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
                yield connection
        except psycopg.Error as error:
            raise translate(error, self._where) from error

    def _dsn_of(self, name: str) -> str:
        # All as parameters of the query: a URL with several hosts, or a socket's folder, is not put together again.
        rest = {part: value for part, value in self._parts.items() if part != "dbname"}
        return f"postgresql:///{name}?{urlencode(rest, quote_via=quote, safe='')}"


def _new_name() -> str:
    return f"holdfast_bench_{uuid4().hex[:12]}"
