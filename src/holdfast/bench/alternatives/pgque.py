"""
PgQue: events between two ticks are one batch, acknowledged as a whole. No event has a record of its own.

Ticks every 10 ms, from a loop beside the worker, as documented where there is no pg_cron, and whether or not there are
events, as in the measurement of latency that its documentation shows: an event whose transaction commits just after a
tick counts as seen by it, and would wait for the next idle tick, which by default comes after 1.5 s. The worker waits
for the ticker's NOTIFY. What is published in bulk gets a tick of its own, and so is one batch.

Its SQL comes from a checkout that the environment variable HOLDFAST_BENCH_PGQUE names. It makes three roles, which
belong to the whole server: those that were not there before are dropped at the end, so it takes a superuser.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.bench.alternatives import sessions
from holdfast.bench.alternatives.alternative import Alternative

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from psycopg import AsyncConnection, Connection

    from holdfast.bench.alternatives.alternative import Content, Note

_CHECKOUT = ("HOLDFAST_BENCH_PGQUE", "sql/pgque.sql")
_TICK_S = 0.01
_ALL = 2**31 - 1

# A sequence says 1 before its first number and after: with one event and its tick before the consumer, none is miscounted.
_QUEUE = (
    "select pgque.create_queue('bench')",
    "select pgque.set_queue_config('bench', 'ticker_max_count', '1')",
    "select pgque.set_queue_config('bench', 'ticker_max_lag', '1 millisecond')",
    "select pgque.set_queue_config('bench', 'ticker_idle_period', '1 millisecond')",
    "select pgque.send('bench', 'bench', '{}'::text)",
    "select pgque.ticker('bench')",
    "select pgque.subscribe('bench', 'bench')",
)
_ROLES = "select rolname from pg_roles where rolname in ('pgque_admin', 'pgque_reader', 'pgque_writer')"
_SEND = "select pgque.send('bench', 'bench', %s::text)"
_SEND_MANY = "select pgque.send_batch('bench', 'bench', %s::text[])"
_TICK = "select pgque.ticker('bench')"
_RECEIVE = "select batch_id, payload from pgque.receive('bench', 'bench', %s)"
_ACKNOWLEDGE = "select pgque.ack(%s)"
_LEFT = "select coalesce(sum(pending_events), 0)::bigint from pgque.get_consumer_info('bench', 'bench')"


@contextmanager
def _prepared(dsn: str) -> Iterator[str]:
    with sessions.connect(dsn) as connection:
        before = _roles(connection)
        connection.execute(sessions.read_script(*_CHECKOUT))
        for statement in _QUEUE:
            connection.execute(statement.encode())
    try:
        yield dsn
    finally:
        with sessions.connect(dsn) as connection:
            for role in _roles(connection) - before:
                connection.execute(f"drop owned by {role}; drop role {role}".encode())


def _roles(connection: Connection[Any]) -> set[str]:
    return {str(name) for (name,) in connection.execute(_ROLES)}


@asynccontextmanager
async def _working(dsn: str, note: Note) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        ticking = await stack.enter_async_context(await sessions.connect_async(dsn))
        receiving = await stack.enter_async_context(await sessions.connect_async(dsn))
        await receiving.execute("listen pgque_bench")
        await stack.enter_async_context(sessions.running(_tick(ticking), _work(receiving, note)))
        yield


async def _tick(connection: AsyncConnection[Any]) -> None:
    while True:
        await connection.execute(_TICK)
        await asyncio.sleep(_TICK_S)


async def _work(connection: AsyncConnection[Any], note: Note) -> None:
    async def handle(content: Content) -> None:
        note(content)

    while True:
        async with connection.transaction():
            messages = await (await connection.execute(_RECEIVE, (_ALL,))).fetchall()
            for _, payload in messages:
                await handle(json.loads(payload))
            if messages:
                await connection.execute(_ACKNOWLEDGE, (messages[0][0],))
        if not messages:
            # Not longer: two ticks may be told at once, and a batch between them that is empty looks like none at all.
            async for _ in connection.notifies(timeout=_TICK_S, stop_after=1):
                pass


PGQUE = Alternative(
    name="PgQue",
    missing=partial(sessions.missing_script, *_CHECKOUT),
    prepared=_prepared,
    publishing=partial(sessions.publishing, partial(sessions.Sender, one=_SEND, many=_SEND_MANY, then=_TICK)),
    working=_working,
    looking=partial(sessions.looking, _LEFT),
)
