"""
pgmq: messages that are read, which hides them for a time, and deleted. No worker is part of it: this is the shortest.

Batches of 500. When there is nothing to read, its own function waits, looking every 10 ms (its default is 100).
Its SQL comes from a checkout that the environment variable HOLDFAST_BENCH_PGMQ names.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.bench.alternatives import sessions
from holdfast.bench.alternatives.alternative import Alternative

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection

    from holdfast.bench.alternatives.alternative import Content, Note

_CHECKOUT = ("HOLDFAST_BENCH_PGMQ", "pgmq-extension/sql/pgmq.sql")
_SEND = "select pgmq.send('bench', %s::jsonb)"
_SEND_MANY = "select pgmq.send_batch('bench', %s::jsonb[])"
_READ = "select msg_id, message from pgmq.read('bench', 30, 500)"
_WAIT = "select msg_id, message from pgmq.read_with_poll('bench', 30, 500, 5, 10)"
_DELETE = "select pgmq.delete('bench', %s::bigint[])"
_LEFT = "select count(*) from pgmq.q_bench"


@contextmanager
def _prepared(dsn: str) -> Iterator[str]:
    with sessions.connect(dsn) as connection:
        connection.execute(sessions.read_script(*_CHECKOUT))
        connection.execute("select pgmq.create('bench')")
    yield dsn


async def _work(connection: AsyncConnection[Any], note: Note) -> None:
    async def handle(content: Content) -> None:
        note(content)

    read = _READ
    while True:
        messages = await (await connection.execute(read)).fetchall()
        for _, content in messages:
            await handle(content)
        if messages:
            await connection.execute(_DELETE, ([message_id for message_id, _ in messages],))
        read = _READ if messages else _WAIT


PGMQ = Alternative(
    name="pgmq",
    missing=partial(sessions.missing_script, *_CHECKOUT),
    prepared=_prepared,
    publishing=partial(sessions.publishing, partial(sessions.Sender, one=_SEND, many=_SEND_MANY)),
    working=partial(sessions.working, _work),
    looking=partial(sessions.looking, _LEFT),
)
