"""The limit on PostgreSQL: the same rows in the same tables by plain SQL, with no bus round it.

The same driver, settings and asyncio loop as Holdfast uses. A loop reads pages of 1,000 events by position, decodes
each payload, and writes the page's receipts by one statement. It has no order, no retries, no dead letters, no second
worker, and loses events whose transaction commits late: it is a yardstick, not an alternative.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg.rows import tuple_row

from holdfast.bench.workload import (
    CALLERS,
    NAME,
    NOBODY,
    PAGE,
    Numbers,
    drained,
    key,
    new_id,
    payload,
    rate,
    spread,
)
from holdfast.stores.postgres import arrays
from holdfast.stores.postgres.session import adapt_raw

if TYPE_CHECKING:
    from collections.abc import Sequence

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Row = tuple[Any, ...]

_INSERT = """insert into holdfast.event_log (id, tenant_id, event_name, event_key, payload)
    values (%b::uuid, %b::text, %b::text, %b::text, %b::text::json)"""
_INSERT_MANY = """insert into holdfast.event_log (id, tenant_id, event_name, event_key, payload)
    select e.id, 'default', e.name, e.key, e.payload::json
    from unnest(%b::uuid[], %b::text[], %b::text[], %b::text[])
        with ordinality as e(id, name, key, payload, n) order by e.n"""
_COPY = "copy holdfast.event_log (id, tenant_id, event_name, event_key, payload) from stdin"
_PAGE = """select position, id, tenant_id, event_name, event_key, payload from holdfast.event_log
    where position > %s order by position limit %s"""
_RECEIPTS = """insert into holdfast.receipts (day, subscription, event_id)
    select (clock_timestamp() at time zone 'UTC')::date, %s, id from unnest(%b::uuid[]) as id on conflict do nothing"""
_COUNT = "select count(*) from holdfast.receipts where subscription = %s"


async def connect(dsn: str) -> Connection:
    """In autocommit, with what Holdfast has taught its own connections."""
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=tuple_row)
    adapt_raw(connection)
    return connection


def publish_alone(dsn: str, events: int) -> Numbers:
    async def run() -> list[float]:
        seconds = []
        async with await connect(dsn) as connection:
            for number in range(events):
                event = (new_id(), "default", NAME, key(number), json.dumps(payload(number)))
                started = time.perf_counter()
                await connection.execute(_INSERT, event)
                seconds.append(time.perf_counter() - started)
        return seconds

    return spread(asyncio.run(run()))


def publish_batches(dsn: str, events: int) -> Numbers:
    """One INSERT for each 200 events, in autocommit."""

    async def run() -> float:
        batches = [_columns(range(first, min(first + CALLERS, events))) for first in range(0, events, CALLERS)]
        async with await connect(dsn) as connection:
            started = time.perf_counter()
            for batch in batches:
                await connection.execute(_INSERT_MANY, batch)
            return time.perf_counter() - started

    return rate(events, asyncio.run(run()))


def _columns(numbers: Sequence[int]) -> tuple[arrays.BinaryArray, ...]:
    n = len(numbers)
    return (
        arrays.uuids([new_id().bytes for _ in numbers]),
        arrays.texts((NAME.encode() for _ in numbers), n),
        arrays.texts((key(number).encode() for number in numbers), n),
        arrays.texts((msgspec.json.encode(payload(number)) for number in numbers), n),
    )


def publish_many(dsn: str, events: int) -> Numbers:
    """One COPY of all."""

    async def run() -> float:
        lines = [
            f"{new_id()}\tdefault\t{NAME}\t{key(number)}\t{json.dumps(payload(number))}\n" for number in range(events)
        ]
        async with await connect(dsn) as connection:
            started = time.perf_counter()
            async with connection.cursor().copy(_COPY) as copy:
                await copy.write("".join(lines))
            return time.perf_counter() - started

    return rate(events, asyncio.run(run()))


def drain(dsn: str, events: int) -> Numbers:
    """One step after the other: fetch, decode, receipts."""

    async def run() -> Numbers:
        started, busy = time.perf_counter(), time.process_time()
        async with await connect(dsn) as connection:
            position = 0
            while page := await fetch(connection, position):
                for row in page:
                    msgspec.json.decode(row[5])
                await acknowledge(connection, page)
                position = page[-1][0]
            seconds, busy = time.perf_counter() - started, time.process_time() - busy
            return drained(events, await count_receipts(connection), seconds, busy)

    return asyncio.run(run())


def drain_overlapped(dsn: str, events: int) -> Numbers:
    """The next page is read and the last receipts are written while a page is in hand; nothing is decoded."""

    async def run() -> Numbers:
        started, busy = time.perf_counter(), time.process_time()
        async with await connect(dsn) as reading, await connect(dsn) as writing:
            writer: asyncio.Task[None] | None = None
            reader = asyncio.create_task(fetch(reading, 0))
            while page := await reader:
                reader = asyncio.create_task(fetch(reading, page[-1][0]))
                if writer is not None:
                    await writer
                writer = asyncio.create_task(acknowledge(writing, page))
            if writer is not None:
                await writer
            seconds, busy = time.perf_counter() - started, time.process_time() - busy
            return drained(events, await count_receipts(reading), seconds, busy)

    return asyncio.run(run())


async def fetch(connection: Connection, position: int) -> list[Row]:
    """The page of events behind *position*."""
    return await (await connection.execute(_PAGE, (position, PAGE), binary=True)).fetchall()


async def acknowledge(connection: Connection, page: list[Row]) -> None:
    """Write the receipts of the page."""
    await connection.execute(_RECEIPTS, (NOBODY, arrays.uuids([row[1] for row in page])))


async def count_receipts(connection: Connection) -> int:
    """How many receipts there are by now."""
    row = await (await connection.execute(_COUNT, (NOBODY,))).fetchone()
    assert row is not None
    return int(row[0])
