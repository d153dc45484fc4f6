"""
pgqueuer: jobs as rows that are picked and deleted in batches, and a log with a row for each step.

The driver that its documentation finds fastest, asyncpg, one connection for the worker; batches of 500; its own settings
for autovacuum; its default durability, which is that of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from holdfast.bench.alternatives import sessions
from holdfast.bench.alternatives.alternative import Alternative, missing_package
from holdfast.bench.workload import NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from pgqueuer import PgQueuer, Queries
    from pgqueuer.models import Job

    from holdfast.bench.alternatives.alternative import Content, Note

_BATCH = 500
_LEFT = "select count(*) from pgqueuer"


def _missing() -> str | None:
    return missing_package("pgqueuer") or missing_package("asyncpg")


@asynccontextmanager
async def _queries(dsn: str) -> AsyncIterator[Queries]:
    import asyncpg
    from pgqueuer import AsyncpgDriver, Queries

    connection = await asyncpg.connect(dsn)
    try:
        yield Queries(AsyncpgDriver(connection))
    finally:
        await connection.close()


@contextmanager
def _prepared(dsn: str) -> Iterator[str]:
    async def make_tables() -> None:
        async with _queries(dsn) as queries:
            await queries.install()
            await queries.optimize_autovacuum()

    asyncio.run(make_tables())
    yield dsn


class _Publisher:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def one(self, content: Content) -> None:
        await self._queries.enqueue(NAME, _encoded(content))

    async def many(self, contents: Sequence[Content]) -> None:
        payloads: list[bytes | None] = [_encoded(content) for content in contents]
        await self._queries.enqueue([NAME] * len(payloads), payloads, [0] * len(payloads))


def _encoded(content: Content) -> bytes:
    return json.dumps(content).encode()


@asynccontextmanager
async def _publishing(dsn: str) -> AsyncIterator[_Publisher]:
    async with _queries(dsn) as queries:
        yield _Publisher(queries)


@asynccontextmanager
async def _working(dsn: str, note: Note) -> AsyncIterator[None]:
    from pgqueuer import PgQueuer

    async with _queries(dsn) as queries:
        worker = PgQueuer(queries.driver)

        @worker.entrypoint(NAME)
        async def handle(job: Job) -> None:
            note(json.loads(job.payload or b""))

        async with asyncio.TaskGroup() as group:
            group.create_task(_run(worker))
            yield
            worker.shutdown.set()


async def _run(worker: PgQueuer) -> None:
    await worker.run(batch_size=_BATCH)


PGQUEUER = Alternative(
    name="pgqueuer",
    missing=_missing,
    prepared=_prepared,
    publishing=_publishing,
    working=_working,
    looking=partial(sessions.looking, _LEFT),
)
