"""Every fault bites: somebody who asks all the time notices. And it heals: afterwards nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from holdfast.stores import make_store
from holdfast.stores.postgres.session import cut
from holdfast.testing import LocalPostgres
from tests.chaos.faults import FAULTS
from tests.chaos.proxy import Proxy
from tests.chaos.servers import SMALL_DISK, small_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from tests.chaos.fault import Fault

LONG = os.environ.get("HOLDFAST_LONG") == "1"
SLOW_S = 0.15
SETTINGS = (
    "default_transaction_read_only", "default_transaction_isolation", "synchronous_commit", "statement_timeout",
    "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout",
)  # fmt: skip
# What somebody from outside sees of a fault that lets him ask and write as ever.
TRACES = f"""
    select array[{", ".join(f"current_setting('{name}')" for name in SETTINGS)}],
        (select count(*) from pg_prepared_xacts),
        (select count(*) from pg_database where datname like 'chaos_%%'),
        (select count(*) from pg_stat_activity where application_name = 'chaos' and state like 'idle in transaction%%'),
        (select count(*) from pg_locks where mode = 'AccessShareLock' and relation = to_regclass('holdfast.event_log_default')
            and pid <> pg_backend_pid()),
        abs(extract(epoch from clock_timestamp()) - %s) > 5
"""
# Over at once, or harmless to whoever only asks; their own test or their history shows that they do something.
UNSEEN = {
    "positions drawn and not used", "vacuum freeze of everything", "migrated again under load", "worker killed",
    "all workers killed", "publisher killed", "worker stopped past its lease", "worker stopped for a moment",
    "publisher stopped", "worker terminated", "two workers by turns", "torn spool file", "truncated spool file",
    "bit-flipped spool file",
}  # fmt: skip


class Sleeper:
    """A process that does nothing, and remembers what was done to it."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.suffered: list[str] = []
        self._process = subprocess.Popen(["sleep", "300"])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self.suffered.append("kill")
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        self.suffered.append("terminate")
        self._process.terminate()

    def pause(self) -> None:
        self.suffered.append("pause")
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.suffered.append("resume")
        self._process.send_signal(signal.SIGCONT)


class Stage:
    """A scene with a server, a proxy and idle processes."""

    def __init__(self, server: LocalPostgres | None, proxy: Proxy | None, spool: Path | None = None) -> None:
        self.random = random.Random(1)
        self.server, self.proxy, self.spool = server, proxy, spool
        self.dsn = server.dsn("scene") if server else ""
        self.seconds = 0.3
        self.processes: Sequence[Sleeper] = [Sleeper(role) for role in ("worker", "worker", "publisher")]
        self.notes: list[tuple[str, str]] = []

    def note(self, fault_name: str, phase: str, **facts: Any) -> None:
        self.notes.append((fault_name, phase))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 2 * self.seconds))  # no lease is waited for here

    async def run_sql(self, sql: str, dbname: str | None = None) -> list[tuple[Any, ...]]:
        conninfo = make_conninfo(self.dsn, **({"dbname": dbname} if dbname else {}))
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            cursor = await connection.execute(sql)
            return await cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        for process in self.processes:
            process.resume()
            process.kill()


class Watcher:
    """Asks and writes through the proxy all the time; counts what is not as ever."""

    def __init__(self, stage: Stage) -> None:
        assert stage.proxy is not None
        self._dsn = stage.proxy.dsn("scene")
        self.disturbed = 0
        self.is_done = False
        self.at_rest: tuple[Any, ...] | None = None

    async def watch(self, connection: psycopg.AsyncConnection | None) -> None:
        """Until told to stop; a question that is under way then is waited for."""
        while not self.is_done:
            began = time.monotonic()
            try:
                connection = connection or await self.connect()
                found = await self.ask(connection)
                self.disturbed += found != self.at_rest or time.monotonic() - began > SLOW_S
            except psycopg.Error:
                self.disturbed += 1
                if connection is not None:
                    connection.pgconn.finish()
                connection = None
            await asyncio.sleep(0.01)
        if connection is not None:
            await connection.close()

    async def connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=5)

    async def ask(self, connection: psycopg.AsyncConnection) -> tuple[Any, ...]:
        deadline = asyncio.get_running_loop().call_later(1.0, cut, connection)
        await connection.execute(
            "insert into holdfast.event_store (tenant_id, event_name, payload) "
            "values ('a', 'watch.asked', to_json(repeat('x', 1500)))"
        )
        found = await (await connection.execute(TRACES, [time.time()])).fetchone()
        deadline.cancel()
        assert found is not None
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    with LocalPostgres(fsync=False, settings={"max_connections": "60"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("create database scene")
        asyncio.run(prepare(server.dsn("scene")))
        yield server


async def prepare(dsn: str) -> None:
    store = make_store(dsn, timeout=30)
    await store.migrate()
    await store.close()


@pytest.fixture
async def stage(server: LocalPostgres, tmp_path: Path) -> AsyncIterator[Stage]:
    with small_disk(8) if SMALL_DISK.is_met else nullcontext(tmp_path) as disk:
        async with Proxy(server.port) as proxy:
            stage = Stage(server, proxy, disk / "spool")
            assert stage.spool is not None
            stage.spool.mkdir()
            yield stage
            stage.close()


def chosen() -> Iterator[Any]:
    """
    All faults with HOLDFAST_LONG=1, else the first of those that differ in a figure only. What the machine lacks for one
    is told.
    """
    seen = set[object]()
    for fault in FAULTS:
        way = fault.strike.func if isinstance(fault.strike, partial) else fault.strike
        if LONG or way not in seen:
            seen.add(way)
            missing = ", ".join(map(str, fault.missing))
            mark = pytest.mark.skipif(bool(missing), reason=f"not run: {fault.name}, which needs {missing}")
            yield pytest.param(fault, id=fault.name, marks=mark)


@pytest.mark.parametrize("fault", list(chosen()))
async def test_it_bites_and_heals(fault: Fault, stage: Stage) -> None:
    watcher = Watcher(stage)
    connection = await watcher.connect()
    watcher.at_rest = await watcher.ask(connection)
    watching = asyncio.ensure_future(watcher.watch(connection))
    await fault.strike(stage)
    watcher.is_done = True
    await watching
    assert {phase for name, phase in stage.notes if name == fault.name} >= {"begins", "heals"}
    assert watcher.disturbed or fault.name in UNSEEN
    async with await watcher.connect() as connection:
        assert await watcher.ask(connection) == watcher.at_rest
