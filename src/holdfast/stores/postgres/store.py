"""The PostgreSQL store: sessions by role, and the parts that use them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo

from holdfast.errors import HoldfastError, SchemaMismatch, WrongStore
from holdfast.stores.postgres import conninfo, migrations
from holdfast.stores.postgres.deliveries import Deliveries
from holdfast.stores.postgres.errors import no_tables, translated
from holdfast.stores.postgres.keeping_keys import KeepingKeys
from holdfast.stores.postgres.lagging import Lagging
from holdfast.stores.postgres.leasing import Leasing
from holdfast.stores.postgres.maintenance import Keeping
from holdfast.stores.postgres.reader import PostgresReader, snapshot_order
from holdfast.stores.postgres.registration import Registration
from holdfast.stores.postgres.scheduling import Scheduling
from holdfast.stores.postgres.session import Acquaintance, Session
from holdfast.stores.postgres.settling import Settling
from holdfast.stores.postgres.transactions import HandlerTransactions
from holdfast.stores.postgres.version import SCHEMA_VERSION
from holdfast.stores.sql import Statements, check_schema_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from holdfast.stores.base import Reader

_HEARTBEAT_SECONDS = 20.0
_PLANNED_ONCE = ("publish", "reader", "settle", "lease")


class PostgresStore(
    Scheduling, Registration, Leasing, Deliveries, Settling, HandlerTransactions, Keeping, Lagging, KeepingKeys
):  # fmt: skip
    """Events in PostgreSQL 14 or later; see `holdfast.stores.base.Store` for what each method promises.

    Sessions, each opened when first needed: publishing, settling, leases, other work, background, one for each
    reader, one that listens; and pools for transactional handlers.

    Args:
        dsn: A libpq connection string or URL.
        schema: Schema that holds the tables.
        timeout: Seconds within which publishing must connect and be answered; the others get more.
        lease_ttl: Seconds that leases last, which bounds what is done under one.
        handler_connections: Bound of each pool for transactional handlers.
    """

    def __init__(
        self, dsn: str, *, schema: str = "holdfast", timeout: float = 2.0, lease_ttl: float = 30.0,
        handler_connections: int = 16,
    ) -> None:  # fmt: skip
        parts = conninfo.read(dsn)
        self._schema = check_schema_name(schema)
        self._conninfo = make_conninfo(dsn)
        host, port = parts.get("host") or "the local socket", parts.get("port") or 5432
        self._where = f"schema {schema!r} of database {parts.get('dbname') or 'by default'!r} at {host}:{port}"
        self.address = f"postgresql-{parts.get('host') or 'local'}-{port}-{parts.get('dbname') or ''}-{schema}"
        self.is_durable = self.is_remote = True
        self._statements = Statements("holdfast.stores.postgres", schema)
        self._channel = f"holdfast_{schema}"
        self._timeout, self._acquaintance = timeout, Acquaintance()
        self._publish = self._session("publish", timeout)
        # What is fenced gives up before the lease can run out under it.
        patient = max(0.5, min(10.0, lease_ttl / 2))
        self._work, self._settle = self._session("work", max(patient, 10.0)), self._session("settle", patient)
        self._lease, self._background = self._session("lease", patient), self._session("background", 60.0)
        self._handler_connections = handler_connections
        self._pool = None
        self._pool_sync = self._new_sync_pool()
        self.identity = ""

    def _session(self, role: str, timeout: float) -> Session:
        return Session(
            self._conninfo, where=self._where, timeout=timeout, name=f"holdfast {role}",
            acquaintance=self._acquaintance, plans_once=role in _PLANNED_ONCE,
        )  # fmt: skip

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._check_identity(await self._publish.run(self._statements["identity"]))
        await self._publish.run(self._statements["incarnation"])

    def _check_identity(self, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            raise no_tables(self._where)
        store_id, system, server, standby, row_security, version, highest_xid, server_xid, _ = rows[0]
        if version != SCHEMA_VERSION:
            raise SchemaMismatch(self._where, version, SCHEMA_VERSION)
        if standby:
            raise WrongStore(f"{self._where} is a standby: point the DSN at the primary server")
        if system != server or highest_xid > server_xid:
            raise WrongStore(
                f"{self._where} is a restored or copied store: its cursors belong to another server; stop all that "
                f"publishes and works there, and run  holdfast migrate --after-restore"
            )
        if row_security:
            raise WrongStore(
                f"row security hides rows of {self._where} from this role: events would be passed over in silence; "
                f"alter role ... bypassrls, or give it a policy that shows every row of event_log"
            )
        self.identity = str(UUID(bytes=store_id))

    async def close(self) -> None:
        for session in (self._publish, self._work, self._settle, self._lease, self._background):
            await session.close()
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
        if not self._pool_sync.closed:
            try:
                await asyncio.to_thread(self._pool_sync.close)  # it waits for threads of its own
            except RuntimeError:  # since Python 3.12 there is no new thread where the interpreter is about to end
                self._pool_sync.close()
            self._pool_sync = self._new_sync_pool()

    def abandon(self) -> None:
        """Let go of every connection without waiting: the loop that could wait is gone."""
        for session in (self._publish, self._work, self._settle, self._lease, self._background):
            session.abandon()

    async def migrate(self) -> list[str]:
        applied: list[str] = []
        if not await migrations.is_current(self._work, self._schema):
            migrator = self._session("migrate", 30.0)
            applied = await migrations.migrate(migrator, self._schema, self._statements, self._where)
        await self.make_days()
        return applied

    def migration_script(self) -> str:
        """The whole schema as one SQL text, for people who apply it by other means."""
        return "\n".join(text for _, text in migrations.scripts(self._schema, self._statements))

    def roles_script(self) -> str:
        """What `make_roles` runs."""
        return self._statements.script("roles")

    async def make_roles(self) -> None:
        """
        Make the roles publisher, worker, operator, eraser, viewer and tenant of this schema, and give each what it needs.

        Raises:
            PermissionDenied: This role may not make roles, or does not own the tables.
        """
        connection = await self._session("roles", 30.0).connect()
        with translated(self._where):
            async with connection:
                await connection.execute(self.roles_script().encode())

    def latest(self, places: Collection[str]) -> str:
        return max(places, key=snapshot_order)

    async def reader(self) -> Reader:
        await self._work.run(self._statements["incarnation"])
        return PostgresReader(self._session("reader", 60.0), self._statements)

    async def listen(self, wake: Callable[[], None]) -> None:
        session = self._session("listen", max(self._timeout, 10.0))
        while True:
            try:
                connection = await session.connect()
            except HoldfastError:
                await asyncio.sleep(1.0)
                continue
            try:
                await connection.execute(f'listen "{self._channel}"')
                while True:
                    async for _ in connection.notifies(timeout=_HEARTBEAT_SECONDS):
                        wake()
                    # A connection that is only listened to would never be found dead.
                    async with asyncio.timeout(_HEARTBEAT_SECONDS):
                        await connection.execute("select 1")
            except (psycopg.Error, TimeoutError):
                wake()
                await asyncio.sleep(0.2)
            finally:
                await connection.close()
