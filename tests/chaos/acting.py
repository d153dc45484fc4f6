"""How faults act on the server: past the proxy, in turns, and until it has worked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from holdfast.testing import LocalPostgres
    from tests.chaos.fault import Scene
    from tests.chaos.proxy import Proxy

NAME = "chaos"
# A fault's own sessions are free of what faults do to the sessions of everybody.
_FREE = (
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 "
    "-c default_transaction_read_only=off -c default_transaction_isolation=read\\ committed"
)
_PAUSE_S = 0.05
_turns: WeakKeyDictionary[LocalPostgres, asyncio.Lock] = WeakKeyDictionary()


def server_of(scene: Scene) -> LocalPostgres:
    assert scene.server is not None, "this fault needs a server that it may hurt"
    return scene.server


def proxy_of(scene: Scene) -> Proxy:
    assert scene.proxy is not None, "this fault needs the proxy"
    return scene.proxy


@asynccontextmanager
async def turn(scene: Scene) -> AsyncIterator[LocalPostgres]:
    """Only one fault at a time starts and stops the server, which runs afterwards."""
    server = server_of(scene)
    async with _turns.setdefault(server, asyncio.Lock()):
        try:
            yield server
        finally:
            await blocking(server.start)


async def blocking(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run it in a thread, to its end, whatever becomes of the caller."""
    return await whole(asyncio.to_thread(function, *arguments))


async def whole(work: Awaitable[Any]) -> Any:
    """Wait for *work* to end, even when cancelled: half of it would heal nothing."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@asynccontextmanager
async def session(scene: Scene, dbname: str | None = None, *, seconds: float = 60.0) -> AsyncIterator[Any]:
    """A connection in autocommit, as soon as the server gives one."""
    connection = await _connect(scene, dbname, seconds)
    try:
        yield connection
    finally:
        await connection.close()


async def _connect(scene: Scene, dbname: str | None, seconds: float) -> psycopg.AsyncConnection[Any]:
    conninfo = make_conninfo(scene.dsn, **({"dbname": dbname} if dbname else {}))
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await psycopg.AsyncConnection.connect(
                    conninfo, autocommit=True, application_name=NAME, connect_timeout=5, options=_FREE
                )
            except psycopg.OperationalError:
                await asyncio.sleep(_PAUSE_S)


async def insist(scene: Scene, *statements: str, dbname: str | None = None, seconds: float = 60.0) -> list[Any]:
    """Run statements, each of which may be repeated, until all have passed; returns the rows of the last one."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                async with session(scene, dbname, seconds=seconds) as connection:
                    for statement in statements:
                        cursor = await connection.execute(statement)
                    return await cursor.fetchall() if cursor.description else []
            except (psycopg.OperationalError, psycopg.errors.LockNotAvailable):
                await asyncio.sleep(_PAUSE_S)


def dbname_of(scene: Scene) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(scene.dsn)["dbname"])
