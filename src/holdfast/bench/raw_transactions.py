"""The limit of transactional handlers on PostgreSQL: a loop by hand, with one transaction for each event.

As many events are in hand at once as Holdfast has by default, each on a connection of its own. What the loop lacks: see
`holdfast.bench.raw_postgres`; besides, it keeps no order of a key.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import UUID

from holdfast.bench.raw_postgres import acknowledge, connect, count_receipts, fetch
from holdfast.bench.workload import CONCURRENCY, Numbers, drained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bench.raw_postgres import Connection, Row

_EFFECT = "insert into public.bench_effects values (%s)"


def drain(dsn: str, events: int) -> Numbers:
    """Read a page; for each event of it begin, insert the effect, insert the receipt, commit; then read the next."""

    async def run() -> Numbers:
        started, busy = time.perf_counter(), time.process_time()
        async with AsyncExitStack() as stack:
            reading = await stack.enter_async_context(await connect(dsn))
            crew = [await stack.enter_async_context(await connect(dsn)) for _ in range(CONCURRENCY)]
            position = 0
            while page := await fetch(reading, position):
                rows = iter(page)  # the connections share them out
                await asyncio.gather(*(_handle(connection, rows) for connection in crew))
                position = page[-1][0]
            seconds, busy = time.perf_counter() - started, time.process_time() - busy
            return drained(events, await count_receipts(reading), seconds, busy)

    return asyncio.run(run())


async def _handle(connection: Connection, rows: Iterator[Row]) -> None:
    for row in rows:
        async with connection.transaction():
            await connection.execute(_EFFECT, (UUID(bytes=row[1]),))
            await acknowledge(connection, [row])
