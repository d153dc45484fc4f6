"""The server crashes, restarts, or lets nobody work."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from tests.chaos.acting import NAME, blocking, dbname_of, insist, proxy_of, session, turn, whole
from tests.chaos.fault import Fault, Scene, noted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.testing.postgres import StopMode

_GROUP = "database"


# ---- crashes


async def _killed(scene: Scene) -> None:
    async with turn(scene) as server, noted(scene, "server killed"):
        await blocking(server.kill)


async def _killed_often(scene: Scene) -> None:
    async with turn(scene) as server, noted(scene, "server killed every second"):
        async with _for(scene):
            while True:
                await blocking(server.kill)
                await blocking(server.start)
                await scene.sleep(scene.random.uniform(0.3, 1.5))


async def _killed_after_rollbacks(scene: Scene) -> None:
    """The transaction ids of what rolled back last are forgotten, and handed out again."""
    async with turn(scene) as server, noted(scene, "server killed after rollbacks"):
        async with session(scene) as connection:
            for _ in range(40):
                await connection.execute("begin; select pg_current_xact_id(); rollback")
        await blocking(server.kill)


async def _away(scene: Scene) -> None:
    async with turn(scene) as server, noted(scene, "server away"):
        await blocking(server.kill)
        await scene.sleep(scene.seconds)


async def _stopped(mode: StopMode, name: str, scene: Scene) -> None:
    async with turn(scene) as server, noted(scene, name):
        await blocking(server.stop, mode)


# ---- nobody can work, or only otherwise


async def _setting(name: str, settings: dict[str, str], scene: Scene) -> None:
    """Settings of the whole server, for sessions that are open too."""
    async with noted(scene, name):
        try:
            await insist(scene, *(f"alter system set {key} = '{value}'" for key, value in settings.items()), _RELOAD)
            await scene.sleep(scene.seconds)
        finally:
            await whole(insist(scene, *(f"alter system reset {key}" for key in settings), _RELOAD))


_RELOAD = "select pg_reload_conf()"


async def _default(name: str, settings: dict[str, str], scene: Scene) -> None:
    """Settings of role or database: they count for new sessions, so the old ones are cut before and after."""
    database = sql.Identifier(dbname_of(scene)).as_string()
    async with noted(scene, name):
        try:
            await insist(scene, *(f"alter database {database} set {key} = '{to}'" for key, to in settings.items()))
            proxy_of(scene).cut()
            await scene.sleep(scene.seconds)
        finally:
            await whole(insist(scene, *(f"alter database {database} reset {key}" for key in settings)))
            proxy_of(scene).cut()


async def _slots_exhausted(scene: Scene) -> None:
    """Every connection is taken, and then those of the programs are cut, so that they need new ones."""
    held: list[psycopg.AsyncConnection[Any]] = []
    async with noted(scene, "connection slots exhausted"):
        try:
            await _take_slots(scene, held)
            async with _for(scene):
                while True:
                    proxy_of(scene).cut()
                    await _take_slots(scene, held)
                    await scene.sleep(0.1)
        finally:
            await whole(asyncio.gather(*(one.close() for one in held)))


async def _take_slots(scene: Scene, held: list[psycopg.AsyncConnection[Any]]) -> None:
    while True:
        try:
            held.append(await psycopg.AsyncConnection.connect(scene.dsn, application_name=NAME, connect_timeout=5))
        except psycopg.OperationalError:
            return


async def _terminated(scene: Scene) -> None:
    """Sessions of the programs end one by one, some of them in the midst of a transaction."""
    async with noted(scene, "backends terminated"), _for(scene):
        while True:
            await insist(
                scene,
                f"select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' "
                f"and application_name <> '{NAME}' and pid <> pg_backend_pid() order by random() limit 2",
            )
            await scene.sleep(scene.random.uniform(0.05, 0.5))


@asynccontextmanager
async def _for(scene: Scene) -> AsyncIterator[None]:
    """As long as a fault may last; what it repeats is ended there."""
    try:
        async with asyncio.timeout(scene.seconds):
            yield
    except TimeoutError:
        pass


FAULTS = (
    Fault("server killed", _GROUP, _killed),
    Fault("server killed every second", _GROUP, _killed_often),
    Fault("server killed after rollbacks", _GROUP, _killed_after_rollbacks),
    Fault("server away", _GROUP, _away),
    *(
        Fault(name, _GROUP, partial(_stopped, mode, name))
        for name, mode in (("immediate shutdown", "immediate"), ("restart under load", "fast"))
    ),
    *(
        Fault(name, _GROUP, partial(_setting, name, settings))
        for name, settings in {
            "read-only": {"default_transaction_read_only": "on"},
            "repeatable read by default": {"default_transaction_isolation": "repeatable read"},
            "serializable by default": {"default_transaction_isolation": "serializable"},
            "asynchronous commit by default": {"synchronous_commit": "off"},
            "statement timeout of 100 ms": {"statement_timeout": "100ms"},
            "lock timeout of 100 ms": {"lock_timeout": "100ms"},
        }.items()
    ),
    *(
        Fault(name, _GROUP, partial(_default, name, settings))
        for name, settings in {
            "idle timeouts of 100 ms": {
                "idle_session_timeout": "100ms",
                "idle_in_transaction_session_timeout": "100ms",
            },
            "every timeout 100 ms": {
                "statement_timeout": "100ms",
                "lock_timeout": "100ms",
                "idle_in_transaction_session_timeout": "100ms",
                "tcp_user_timeout": "100ms",
            },
        }.items()
    ),
    Fault("connection slots exhausted", _GROUP, _slots_exhausted),
    Fault("backends terminated", _GROUP, _terminated),
)
