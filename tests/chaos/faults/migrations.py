"""Twenty migrate at once, and some are killed in the middle: in a database of their own, beside the load."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.chaos.acting import insist, server_of, whole
from tests.chaos.fault import BrokenPromiseError, Fault, Scene, noted

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_GROUP = "migrations"
_PROCESSES, _IN_EACH = 4, 5
# Several in each process: it is the server that twenty are too many for, not this machine.
_PROGRAM = """
import asyncio, sys
from holdfast.stores import make_store

async def migrate():
    store = make_store(sys.argv[1], timeout=30)
    await store.migrate()
    await store.close()

async def main():
    await asyncio.gather(*(migrate() for _ in range(int(sys.argv[2]))))

asyncio.run(main())
"""


async def _at_once(scene: Scene) -> None:
    async with noted(scene, "twenty migrations at once, some killed in the middle"):
        name = f"chaos_{uuid4().hex[:8]}"
        database = sql.Identifier(name).as_string()
        dsn = server_of(scene).dsn(name)
        processes: list[Process] = []
        try:
            await insist(scene, f"create database {database}")
            processes = [await _migrator(dsn) for _ in range(_PROCESSES)]
            for process in processes[: _PROCESSES // 2]:
                await scene.sleep(scene.random.uniform(0.1, 0.4))
                if process.returncode is None:
                    process.kill()
            codes = [await process.wait() for process in processes]
            last = await _migrator(dsn)
            processes.append(last)
            assert await last.wait() == 0, "a migration does not come through where others were killed"
            scene.note("twenty migrations at once, some killed in the middle", "ends", codes=codes)
            await _check(scene, name)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
            await whole(insist(scene, f"drop database if exists {database} with (force)"))


async def _check(scene: Scene, name: str) -> None:
    """Each step is there once, and the same as where one alone has migrated."""
    question = "select version, name from holdfast.schema_migrations order by version"
    there, elsewhere = await insist(scene, question, dbname=name), await insist(scene, question)
    if there != elsewhere:
        raise BrokenPromiseError(f"after twenty migrations at once there is {there}, after one alone {elsewhere}")


async def _migrator(dsn: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", _PROGRAM, dsn, str(_IN_EACH))


async def _again(scene: Scene) -> None:
    """The store itself is migrated again under load: nothing to do, and nobody waits for it."""
    async with noted(scene, "migrated again under load"):
        process = await _migrator(str(server_of(scene).dsn(conninfo_to_dict(scene.dsn)["dbname"] or "")))
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()


FAULTS = (
    Fault("twenty migrations at once, some killed in the middle", _GROUP, _at_once),
    Fault("migrated again under load", _GROUP, _again),
)
