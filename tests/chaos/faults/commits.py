"""Transactions of others, here and in another database, that stay open, roll back late, or are left behind."""

from __future__ import annotations

from uuid import uuid4

import psycopg
from psycopg import sql

from tests.chaos.acting import insist, session, whole
from tests.chaos.fault import Fault, Scene, noted

_GROUP = "commits and cursors"
_EVENT = "insert into holdfast.event_store (tenant_id, event_name, event_key, payload) values ('default', %s, %s, '{}')"


async def _orphan(scene: Scene) -> None:
    """A prepared transaction with an event in it that nobody ends; it outlives crashes. At last it is rolled back."""
    gid = f"chaos-{uuid4().hex}"
    async with noted(scene, "orphaned prepared transaction", gid=gid):
        try:
            async with session(scene) as connection:
                await connection.execute("begin")
                await connection.execute(_EVENT, ["chaos.orphan", "orphan"])
                await connection.execute(f"prepare transaction '{gid}'")
            await scene.sleep(scene.seconds)
        finally:
            await whole(_end_orphan(scene, gid))


async def _end_orphan(scene: Scene, gid: str) -> None:
    while await insist(scene, f"select gid from pg_prepared_xacts where gid = '{gid}'"):
        try:
            await insist(scene, f"rollback prepared '{gid}'")
        except (psycopg.errors.UndefinedObject, psycopg.errors.ObjectNotInPrerequisiteState):
            await scene.sleep(0.1)  # ended already, its answer lost; or another session is about to end it


async def _elsewhere(scene: Scene) -> None:
    """A transaction of another database of the server has an id and keeps it: everybody's xmin stays where it is."""
    name = f"chaos_{uuid4().hex[:8]}"
    database = sql.Identifier(name).as_string()
    async with noted(scene, "long writer in another database", database=name):
        try:
            await insist(scene, f"create database {database}")
            async with session(scene, name) as connection:
                await connection.execute("begin; create table notes (text text)")
                await scene.sleep(scene.seconds)
        finally:
            await whole(insist(scene, f"drop database if exists {database} with (force)"))


async def _late_rollbacks(scene: Scene) -> None:
    """
    Publishers by plain SQL, several at once, whose ids and positions are early and whose end is late and a rollback:
    gaps in both, that no cursor may wait for, and events that nobody may ever see.
    """
    async with noted(scene, "direct publishers that roll back late"):
        left = scene.seconds
        while left > 0:
            async with session(scene) as early, session(scene) as late:
                for connection in (early, late):
                    await connection.execute("begin; select pg_current_xact_id()")
                await late.execute(_EVENT, ["chaos.never", "never"])
                await early.execute("savepoint one")
                await early.execute(_EVENT, ["chaos.never", "never"])
                await early.execute("rollback to savepoint one; commit")
                await scene.sleep(pause := min(left, scene.random.uniform(0.05, 1.0)))
                await late.execute("rollback")
            left -= pause


async def _sequence_burnt(scene: Scene) -> None:
    """Positions are drawn and never used."""
    async with noted(scene, "positions drawn and not used"):
        await insist(scene, "select max(nextval('holdfast.event_position')) from generate_series(1, 1000)")


FAULTS = (
    Fault("orphaned prepared transaction", _GROUP, _orphan),
    Fault("long writer in another database", _GROUP, _elsewhere),
    Fault("direct publishers that roll back late", _GROUP, _late_rollbacks),
    Fault("positions drawn and not used", _GROUP, _sequence_burnt),
)
