"""What alternatives on PostgreSQL share: a worker as a task, how many events are left, dead rows, an old snapshot."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from psycopg import AsyncConnection, Connection

    from holdfast.bench.alternatives.alternative import Content, Left, Note, Publisher

    Work = Callable[[AsyncConnection[Any], Note], Coroutine[Any, Any, None]]

_PATIENCE = 5.0
_PAUSE = 0.01

_OTHERS = """select count(*) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"""
_DEAD_ROWS = "select coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables"


def connect(dsn: str) -> Connection[Any]:
    import psycopg

    return psycopg.connect(dsn, autocommit=True)


async def connect_async(dsn: str) -> AsyncConnection[Any]:
    """The driver and the settings that Holdfast uses."""
    import psycopg

    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


@asynccontextmanager
async def publishing(make: Callable[[AsyncConnection[Any]], Publisher], dsn: str) -> AsyncIterator[Publisher]:
    """A publisher with one connection."""
    async with await connect_async(dsn) as connection:
        yield make(connection)


class Sender:
    """
    A publisher that calls a function with a payload as JSON, or with an array of them.

    Args:
        connection: In autocommit.
        one: The statement for one payload.
        many: That for several.
        then: What to run behind *many*, if anything.
    """

    def __init__(self, connection: AsyncConnection[Any], *, one: str, many: str, then: str = "") -> None:
        self._connection, self._one, self._many, self._then = connection, one, many, then

    async def one(self, content: Content) -> None:
        await self._connection.execute(self._one.encode(), (json.dumps(content),))

    async def many(self, contents: Sequence[Content]) -> None:
        await self._connection.execute(self._many.encode(), ([json.dumps(content) for content in contents],))
        if self._then:
            await self._connection.execute(self._then.encode())


@asynccontextmanager
async def working(work: Work, dsn: str, note: Note) -> AsyncIterator[None]:
    """A worker that is one loop with one connection."""
    async with await connect_async(dsn) as connection, running(work(connection, note)):
        yield


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Loops that are cancelled at the end. One that fails fails the measurement at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        yield
        for task in tasks:
            task.cancel()


@contextmanager
def looking(question: str, dsn: str) -> Iterator[Left]:
    """Ask *question* as any SQL reader can, on a connection of its own."""
    with connect(dsn) as connection:
        yield lambda: _ask(connection, question)


def dead_rows(dsn: str) -> int:
    """
    All rows of the database that were ever updated or deleted: each left one version for vacuum to clear.

    ``n_dead_tup`` would forget those that vacuum, or a reader of the page, has cleared by now. Sessions tell their counts at
    their end at the latest, so that of all others is waited for.
    """
    with connect(dsn) as connection:
        deadline = time.monotonic() + _PATIENCE
        while _ask(connection, _OTHERS) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
    with connect(dsn) as connection:  # statistics are kept as a session first saw them
        return _ask(connection, _DEAD_ROWS)


@contextmanager
def old_snapshot(dsn: str) -> Iterator[None]:
    """Meanwhile another session looks at the database as it is now: vacuum clears nothing that changes from here on."""
    with connect(dsn) as connection:
        connection.execute("begin isolation level repeatable read")
        _ask(connection, "select count(*) from pg_class")  # the first statement takes the snapshot
        yield


def _ask(connection: Connection[Any], question: str) -> int:
    row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return int(row[0])


def missing_script(variable: str, script: str) -> str | None:
    """Why there is no *script* in the checkout that the environment *variable* names; None if there is."""
    checkout = os.environ.get(variable)
    if not checkout:
        return f"the environment variable {variable} names no checkout of it"
    return None if (Path(checkout) / script).is_file() else f"the checkout that {variable} names has no {script}"


def read_script(variable: str, script: str) -> bytes:
    return (Path(os.environ[variable]) / script).read_bytes()
