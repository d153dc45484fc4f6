"""Publishing in a transaction of the caller, on PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast.bench.buses import declared
from holdfast.bench.workload import NAME, key, payload, spread

if TYPE_CHECKING:
    from psycopg.abc import PQGen

    from holdfast.bench.workload import Numbers


class _Counting(psycopg.AsyncConnection[Any]):
    """Counts how often the server is asked: every request of the driver is one generator that it waits for here."""

    asked = 0

    async def wait(self, gen: PQGen[Any], *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        return await super().wait(gen, *arguments, **options)


def within(dsn: str, events: int) -> Numbers:
    """One publish in each of so many transactions: what it takes, and how many statements it adds."""

    async def run() -> Numbers:
        bus, seconds, asked = declared(dsn), list[float](), 0
        await bus.publish(NAME, payload(0), key=key(0))
        async with await _Counting.connect(dsn) as connection:
            for number in range(events):
                await connection.execute("insert into public.bench_effects values (gen_random_uuid())")
                started, before = time.perf_counter(), connection.asked
                await bus.publish(NAME, payload(number), key=key(number), tx=connection)
                seconds.append(time.perf_counter() - started)
                asked += connection.asked - before
                await connection.commit()
        await bus.close()
        return spread(seconds) | {"statements": asked / events}

    return asyncio.run(run())
