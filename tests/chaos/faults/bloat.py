"""Vacuum is held back, and partitions are locked by others."""

from __future__ import annotations

from functools import partial

import psycopg

from tests.chaos.acting import insist, session
from tests.chaos.fault import Fault, Scene, noted

_GROUP = "bloat and vacuum"
_DAYS = """
    select format('%I.%I', schema.nspname, part.relname) from pg_inherits as i
    join pg_class as part on part.oid = i.inhrelid join pg_namespace as schema on schema.oid = part.relnamespace
    where i.inhparent = to_regclass('holdfast.event_log') order by part.relname
"""
_OLD_DAY = "(clock_timestamp() at time zone 'UTC')::date - 200"
_DROP = f"select holdfast.drop_day(to_char({_OLD_DAY}, 'YYYYMMDD'))"


async def _held(name: str, statement: str, scene: Scene) -> None:
    """A transaction stays open: what others delete or update since then can not be cleared away."""
    async with noted(scene, name), session(scene) as connection:
        await connection.execute("begin isolation level repeatable read")
        await connection.execute(statement)
        await scene.sleep(scene.seconds)


async def _dumped(scene: Scene) -> None:
    """Every partition is locked as a dump does it, while retention and the making of days want them."""
    async with noted(scene, "partitions locked by a dump while retention runs"):
        await _try(scene, f"select holdfast.make_day({_OLD_DAY})")
        async with session(scene) as dump:
            await dump.execute("begin isolation level repeatable read read only")
            days = await (await dump.execute(_DAYS)).fetchall()
            await dump.execute(
                f"lock table holdfast.event_log, {', '.join(day for (day,) in days)} in access share mode"
            )
            refused = await _while_retention_runs(scene)
        scene.note("partitions locked by a dump while retention runs", "kept out", times=refused)


async def _while_retention_runs(scene: Scene) -> int:
    """Retention, with the patience it has, as often as there is time; returns how often the dump kept it out."""
    refused, left = 0, scene.seconds
    async with session(scene) as connection:
        while left > 0:
            try:
                await connection.execute(_DROP)
            except psycopg.errors.LockNotAvailable:
                refused += 1
            await scene.sleep(pause := min(left, 0.1))
            left -= pause
    return refused


async def _days_made_and_dropped(scene: Scene) -> None:
    """An insert stays open over the making and dropping of days, again and again."""
    async with noted(scene, "days made and dropped across a slow insert"):
        left = scene.seconds
        while left > 0:
            async with session(scene) as slow:
                await slow.execute("begin; insert into holdfast.event_log (tenant_id, event_name, payload) "
                                   "values ('default', 'chaos.slow', '{}')")  # fmt: skip
                await _try(scene, f"select holdfast.make_day({_OLD_DAY})", _DROP)
                await scene.sleep(pause := min(left, 0.3))
                await slow.execute("rollback")
            left -= pause


async def _try(scene: Scene, *statements: str) -> None:
    async with session(scene) as connection:
        for statement in statements:
            try:
                await connection.execute(statement)
            except psycopg.errors.LockNotAvailable as kept_out:
                scene.note("days made and dropped across a slow insert", "kept out", error=str(kept_out))


async def _vacuumed(scene: Scene) -> None:
    """Vacuum of everything, with freezing: ids of old rows disappear while they are read."""
    async with noted(scene, "vacuum freeze of everything"):
        await insist(scene, "vacuum (freeze, analyze)")


FAULTS = (
    *(
        Fault(name, _GROUP, partial(_held, name, statement))
        for name, statement in {
            "xmin held by a reader": "select 1",
            "xmin held by a writer": "select pg_current_xact_id()",
        }.items()
    ),
    Fault("partitions locked by a dump while retention runs", _GROUP, _dumped),
    Fault("days made and dropped across a slow insert", _GROUP, _days_made_and_dropped),
    Fault("vacuum freeze of everything", _GROUP, _vacuumed),
)
