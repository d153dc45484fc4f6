"""
An outbox as it is written by hand a thousand times: a table, and a worker that claims ten rows, handles and marks them.

Claimed rows stay locked while they are handled, so a second worker skips them, and return when the worker dies. An idle
worker looks again after a second. In bulk, rows go in by COPY.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.bench.alternatives import sessions
from holdfast.bench.alternatives.alternative import Alternative, nothing_missing
from holdfast.bench.workload import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import AsyncConnection

    from holdfast.bench.alternatives.alternative import Content, Note

_POLL_S = 1.0
_TABLE = """create table outbox (
        id bigint generated always as identity primary key,
        name text not null,
        payload jsonb not null,
        created_at timestamptz not null default now(),
        done_at timestamptz
    );
    create index on outbox (id) where done_at is null"""
_INSERT = "insert into outbox (name, payload) values (%s, %s)"
_COPY = "copy outbox (name, payload) from stdin"
_CLAIM = "select id, payload from outbox where done_at is null order by id for update skip locked limit 10"
_DONE = "update outbox set done_at = now() where id = any(%s)"
_LEFT = "select count(*) from outbox where done_at is null"


@contextmanager
def _prepared(dsn: str) -> Iterator[str]:
    with sessions.connect(dsn) as connection:
        connection.execute(_TABLE)
    yield dsn


class _Publisher:
    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def one(self, content: Content) -> None:
        await self._connection.execute(_INSERT, (NAME, json.dumps(content)))

    async def many(self, contents: Sequence[Content]) -> None:
        async with self._connection.cursor().copy(_COPY) as copy:
            for content in contents:
                await copy.write_row((NAME, json.dumps(content)))


async def _work(connection: AsyncConnection[Any], note: Note) -> None:
    async def handle(content: Content) -> None:
        note(content)

    while True:
        async with connection.transaction():
            rows = await (await connection.execute(_CLAIM)).fetchall()
            for _, content in rows:
                await handle(content)
            if rows:
                await connection.execute(_DONE, ([row_id for row_id, _ in rows],))
        if not rows:
            await asyncio.sleep(_POLL_S)


OUTBOX = Alternative(
    name="hand-written outbox",
    missing=nothing_missing,
    prepared=_prepared,
    publishing=partial(sessions.publishing, _Publisher),
    working=partial(sessions.working, _work),
    looking=partial(sessions.looking, _LEFT),
)
