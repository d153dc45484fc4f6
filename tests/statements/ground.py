"""Where an operation is broken: a store behind a wire or hooks, a second one in front of them, and an onlooker."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from tests.contract.harness import Scene
from tests.statements.state import of_postgres, of_sqlite

if TYPE_CHECKING:
    from holdfast.stores.base import Store
    from holdfast.stores.inspector import Inspector
    from holdfast.stores.operator import Operator
    from tests.statements import hooks, wire
    from tests.statements.state import State

_TABLES = (
    "subscriptions",
    "workers",
    "snapshots",
    "samples",
    "audit",
    "event_log",
    "receipts",
    "replays",
    "effects",
    "scheduled",
    "schedules",
)
_EMPTY = "; ".join(f"delete from {table}" for table in _TABLES) + "; update meta set generation = 1"
_DAYS_AGAIN = "select make_day((clock_timestamp() at time zone 'UTC')::date + n) from generate_series(0, 7) as n"
PATIENCE = 10.0


class Ground:
    """
    Attributes:
        faults: Counts and breaks what `store` sends.
        store: The store that meets the faults.
        scene: Prepares and looks, past the faults.
    """

    kind: str
    effects = "effects"  # the table that handlers write to, as they name it
    dsn: str  # by which faults are met
    faults: Any
    store: Store
    scene: Scene
    inspector: Inspector
    operator: Operator

    async def open(self, dsn: str, broken_dsn: str, **options: Any) -> None:
        self.dsn = broken_dsn
        plain = make_store(dsn, timeout=PATIENCE)
        await plain.open()
        self.scene = Scene(self.kind, dsn, plain)
        self.store = make_store(broken_dsn, **{"timeout": 0.05 if self.kind == "file" else PATIENCE, **options})
        await self.store.open()
        self.inspector, self.operator = make_inspector(self.store)

    async def close(self) -> None:
        """Everything closed, and nothing left of it: no session, no task."""
        await self.inspector.close()
        await self.store.close()
        await self.scene.close()

    async def empty(self, *, days: bool) -> None:
        raise NotImplementedError

    @property
    def path(self) -> str:
        return self.dsn.removeprefix("sqlite:///")

    def look(self) -> State:
        """What is committed now; from any thread."""
        raise NotImplementedError

    async def require_nothing_held(self) -> None:
        """No transaction is open any more, and no lock is held."""
        raise NotImplementedError


class PostgresGround(Ground):
    kind = "postgres"
    effects = "public.effects"

    def __init__(self, dsn: str, faults: wire.Wire) -> None:
        self.faults = faults
        self.direct = dsn
        self._onlooker = psycopg.connect(dsn, autocommit=True, options="-c search_path=holdfast,public -c jit=off")
        self._onlooker.execute("create table if not exists public.effects (n integer)")

    async def close(self) -> None:
        await super().close()
        gc.collect()  # psycopg leaves it to that to close a connection whose making was cancelled
        try:
            await self._until_none("select application_name, state, query from pg_stat_activity where " + _OURS)
        finally:
            self._onlooker.close()

    async def empty(self, *, days: bool) -> None:
        self._onlooker.execute(_EMPTY)
        self._onlooker.execute("update meta set system_identifier = (pg_control_system()).system_identifier")
        if days:
            self._onlooker.execute(_DAYS_AGAIN)

    def look(self) -> State:
        return of_postgres(self._onlooker)

    async def require_nothing_held(self) -> None:
        pids = ", ".join(map(str, self.faults.ended)) or "0"
        await self._until_none(
            f"select pid, state, query from pg_stat_activity where {_OURS} and (pid in ({pids}) or state <> 'idle')"
        )
        self.faults.ended.clear()
        assert self._onlooker.execute("select * from pg_locks where locktype = 'advisory'").fetchall() == []

    async def _until_none(self, query: str) -> None:
        rows: list[tuple[Any, ...]] = []
        for _ in range(2_000):
            if not (rows := self._onlooker.execute(query).fetchall()):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"sessions are left: {rows}")


_OURS = "datname = current_database() and application_name like 'holdfast%' and pid <> pg_backend_pid()"


class SQLiteGround(Ground):
    kind = "file"

    def __init__(self, faults: hooks.Hooks) -> None:
        self.faults = faults

    async def open(self, dsn: str, broken_dsn: str, **options: Any) -> None:
        await super().open(dsn, broken_dsn, **options)
        self._onlooker = self.faults.unwatched()
        self._onlooker.execute("pragma foreign_keys = on")
        self._onlooker.execute("create table effects (n integer)")

    async def close(self) -> None:
        await super().close()
        self._onlooker.close()

    async def empty(self, *, days: bool) -> None:
        del days
        self._onlooker.executescript(_EMPTY)

    def look(self) -> State:
        return of_sqlite(self._onlooker)

    async def require_nothing_held(self) -> None:
        await self._through()
        for _ in range(400):
            if not (held := self._held()):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(held)

    def _held(self) -> str | None:
        try:
            self._onlooker.execute("begin immediate")
        except sqlite3.OperationalError:
            return "somebody has the write lock"
        self._onlooker.execute("rollback")
        ((busy, *_),) = self._onlooker.execute("pragma wal_checkpoint(truncate)").fetchall()
        return "a read transaction is open" if busy else None

    async def _through(self) -> None:
        """What was given up has come to its end: its threads take the next thing."""
        store: Any = self.store
        inspector: Any = self.inspector
        sessions = store._writer, store._lookup, inspector._thread, inspector.writing
        handling = store._transactions
        for thread in (handling._entrance, handling._exit, *(session._thread for session in sessions)):
            await thread.run(lambda: None)
