"""The system under test: a store, processes that are started again when they end, and what may be done to them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from holdfast.stores import make_store
from tests.chaos import witness
from tests.chaos.acting import NAME
from tests.chaos.history import Journal, read
from tests.chaos.workload import Mood

if TYPE_CHECKING:
    from random import Random

    from holdfast.testing import LocalPostgres
    from tests.chaos.proxy import Proxy

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
_PAUSE_S = 0.1
_EFFECTS = """
    create table effects (
        place {serial}, subscription text, event_id text, event_key text, n integer, follow_id text, replay boolean
    )
"""


class Child:
    """One program under test."""

    def __init__(self, scene: Stage, role: str, number: int) -> None:
        self.role, self.number = role, number
        self._scene = scene
        stem = scene.folder / f"{role}-{number}"
        settings = scene.settings | {"journal": f"{stem}.jsonl", "mood": str(scene.mood_file)}
        with Path(f"{stem}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / f"{role}.py"), json.dumps(settings)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
                env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            )  # fmt: skip
        self.is_noted = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.note_end()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        self._process.terminate()

    def note_end(self) -> None:
        if not self.is_noted:
            self.is_noted = True
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._scene.journal.note("gone", process=self.pid, role=self.role, code=self._process.returncode)


class Stage:
    """
    One database of its own, with its processes; its histories and logs lie in *folder*.

    Args:
        server: PostgreSQL; None: SQLite, in *folder*.
        proxy: Programs connect through it.
        spool: Folder that publishers spool to.
        seconds: How long a fault may last.
    """

    def __init__(
        self, name: str, folder: Path, random: Random, *, server: LocalPostgres | None, proxy: Proxy | None, spool: Path,
        seconds: float, per_second: float,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True)
        self.name, self.folder, self.random, self.server, self.proxy = name, folder, random, server, proxy
        self.spool, self.seconds = spool, seconds
        self.mood_file, self.mood = folder / "mood.json", Mood()
        self.journal = Journal(folder / "faults.jsonl")
        self.file = folder / "store.db"
        self._children: list[Child] = []
        self._started = 0
        self._keeper: asyncio.Task[None] | None = None
        self.settings = {"lanes": 12, "per_second": per_second, "spool": str(spool)}
        self.set_mood(self.mood)

    # ---- what faults may use

    @property
    def dsn(self) -> str:
        return f"sqlite:///{self.file}" if self.server is None else self.server.dsn(self.name)

    @property
    def processes(self) -> list[Child]:
        return [child for child in self._children if child.is_running]

    def note(self, fault_name: str, phase: str, **facts: Any) -> None:
        self.journal.note(phase, fault=fault_name, **facts)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def run_sql(self, sql: str, dbname: str | None = None) -> list[tuple[Any, ...]]:
        """Rows of one statement, past the proxy."""
        if self.server is None:
            return await asyncio.to_thread(self._run_sqlite, sql)
        conninfo = make_conninfo(self.dsn, application_name=NAME, **({"dbname": dbname} if dbname else {}))
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
            cursor = await connection.execute(sql)
            return await cursor.fetchall() if cursor.description else []

    def _run_sqlite(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file, timeout=30, isolation_level=None)) as connection:
            # A statement that reads first and then writes does not wait for a rival: it fails at once.
            connection.execute("begin" if sql.startswith("select") else "begin immediate")
            rows = connection.execute(sql).fetchall()
            connection.execute("commit")
            return rows

    # ---- what the campaign does with it

    def set_mood(self, mood: Mood) -> None:
        self.mood = mood
        mood.write(self.mood_file)

    async def prepare(self) -> None:
        """Make the tables: Holdfast's, the handlers' own, and what watches over writers."""
        if self.server is not None:
            await self.run_sql(f'create database "{self.name}"', "postgres")
        store = make_store(self.dsn, timeout=30)
        await store.migrate()
        await store.close()
        if self.server is None:
            await self.run_sql(_EFFECTS.format(serial="integer primary key autoincrement"))
            await self.run_sql(witness.TABLE)
        else:
            await self.run_sql(_EFFECTS.format(serial="bigint generated always as identity primary key"))
            await self.run_sql(witness.POSTGRES)

    async def start(self, workers: int, publishers: int) -> None:
        for role, count in (("worker", workers), ("publisher", publishers)):
            for _ in range(count):
                self._start(role)
        self._keeper = asyncio.create_task(self._keep())

    async def stop_role(self, role: str, seconds: float = 30.0) -> int:
        """Ask processes of a role to end; returns how many did not, and were killed."""
        children = [child for child in self._children if child.role == role]
        self._children = [child for child in self._children if child.role != role]
        await self._wait(lambda: all(self._is_up(child) or not child.is_running for child in children), seconds)
        for child in children:
            if child.is_running:
                child.resume()
                child.terminate()
        await self._wait(lambda: not any(child.is_running for child in children), seconds)
        left = [child for child in children if child.is_running]
        for child in children:
            if child in left:
                child.kill()
            child.note_end()
        return len(left)

    async def close(self) -> None:
        """Nothing that was started goes on."""
        await self.stop_keeper()
        for child in self._children:
            if child.is_running:
                child.kill()

    async def start_more(self, role: str, count: int) -> None:
        for _ in range(count):
            self._start(role)

    async def stop_keeper(self) -> None:
        """From now on, who ends is not started again."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def spool_files(self) -> int:
        """How many there are, with events or without: a file whose events the store has is deleted."""
        return sum(1 for _ in self.spool.rglob("*.spool"))

    def resume_all(self) -> None:
        for child in self.processes:
            child.resume()

    def _start(self, role: str) -> None:
        self._started += 1
        self.settings["dsn"] = self.dsn if self.proxy is None else self.proxy.dsn(self.name)
        self._children.append(Child(self, role, self._started))

    def _is_up(self, child: Child) -> bool:
        return any(line["what"] == "up" for line in read(self.folder / f"{child.role}-{child.number}.jsonl"))

    async def _keep(self) -> None:
        while True:
            for child in [child for child in self._children if not child.is_running]:
                child.note_end()
                self._children.remove(child)
                self._start(child.role)
            await asyncio.sleep(_PAUSE_S)

    @staticmethod
    async def _wait(condition: Any, seconds: float) -> None:
        """Until it holds, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110 - other processes make it true
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            return
