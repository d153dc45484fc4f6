"""A disk without room left: for a table, and for the write-ahead log."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psycopg

from tests.chaos.acting import blocking, insist, session, turn, whole
from tests.chaos.fault import Fault, Scene, noted
from tests.chaos.servers import SMALL_DISK, fill, small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.testing import LocalPostgres

_GROUP = "database"
_TODAY = "select 'holdfast.event_log_' || to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDD')"
_SPACE = "holdfast_small"
_MIB = 64


async def _table_full(scene: Scene) -> None:
    """Today's part of the log moves to a small disk, which is then filled, and back."""
    async with noted(scene, "disk of the log full"):
        with ExitStack() as disks:
            folder = await blocking(disks.enter_context, small_disk(await _room_for_today(scene) + _MIB))
            ((today,),) = await insist(scene, _TODAY)
            space = folder / "space"
            space.mkdir(mode=0o777)
            space.chmod(0o777)
            _give(space)
            try:
                await _move(scene, today, _SPACE, f"create tablespace {_SPACE} location '{space}'")
                await blocking(fill, folder / "ballast")
                await scene.sleep(scene.seconds)
            finally:
                (folder / "ballast").unlink(missing_ok=True)
                await whole(_move(scene, today, "pg_default"))
                await whole(insist(scene, "checkpoint", f"drop tablespace if exists {_SPACE}"))


async def _room_for_today(scene: Scene) -> int:
    ((size,),) = await insist(scene, f"select pg_total_relation_size(({_TODAY})::regclass) >> 20")
    return 2 * int(size)


async def _move(scene: Scene, table: str, space: str, *before: str) -> None:
    """
    Move it once nobody is in its way: it needs the table alone, and publishers shall not queue behind it.
    """
    for statement in before:
        with suppress(psycopg.errors.DuplicateObject):
            await insist(scene, statement)
    while True:
        try:
            async with session(scene) as connection:
                await connection.execute("set lock_timeout = '100ms'")
                await connection.execute(f"alter table {table} set tablespace {space}")
                return
        except (psycopg.errors.LockNotAvailable, psycopg.OperationalError):
            await scene.sleep(scene.random.uniform(0.05, 0.2))


async def _wal_full(scene: Scene) -> None:
    """The write-ahead log moves to a small disk, which is then filled: the server dies and cannot come back."""
    async with turn(scene) as server, noted(scene, "disk of the write-ahead log full"):
        await blocking(server.stop)
        wal = server.data_dir / "pg_wal"
        with ExitStack() as disks:
            folder = await blocking(disks.enter_context, small_disk(_size(wal) + _MIB))
            try:
                await blocking(_take, server, wal, folder / "wal")
                await blocking(server.start)
                await blocking(fill, folder / "ballast")
                await _use_up(scene, server)
            finally:
                (folder / "ballast").unlink(missing_ok=True)
                await whole(_take_back(server, wal))


async def _use_up(scene: Scene, server: LocalPostgres) -> None:
    """Go through what is left of the log as fast as may be; what publishers write does the same, slowly."""
    with suppress(psycopg.Error, TimeoutError):
        async with session(scene, seconds=5) as connection:
            await connection.execute("create table if not exists public.chaos_filler (n integer)")
            while server.pid:
                await connection.execute("insert into public.chaos_filler values (1); select pg_switch_wal()")
    await scene.sleep(scene.seconds)


async def _take_back(server: LocalPostgres, wal: Path) -> None:
    def back() -> None:
        server.start()  # recovers with the room that there is now
        server.stop()
        if wal.is_symlink():
            target = wal.resolve()
            wal.unlink()
            _take_files(target, wal)

    await blocking(back)


def _take(server: LocalPostgres, wal: Path, target: Path) -> None:
    _take_files(wal, target)
    wal.symlink_to(target)


def _take_files(source: Path, target: Path) -> None:
    owner = source.stat()
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    target.chmod(0o700)
    shutil.rmtree(source)


def _give(folder: Path) -> None:
    with suppress(LookupError):
        shutil.chown(folder, "postgres", "postgres")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20


FAULTS = (
    Fault("disk of the log full", _GROUP, _table_full, (SMALL_DISK,)),
    Fault("disk of the write-ahead log full", _GROUP, _wal_full, (SMALL_DISK,)),
)
