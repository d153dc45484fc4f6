"""
procrastinate: jobs as rows whose state changes, and a row for each change; finished jobs stay, as is its default.

Its asynchronous psycopg connector, with a connection for each of the jobs that may run at once and one that listens.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from holdfast.bench.alternatives import sessions
from holdfast.bench.alternatives.alternative import Alternative, missing_package
from holdfast.bench.workload import NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from procrastinate import App
    from procrastinate.types import JSONDict

    from holdfast.bench.alternatives.alternative import Content, Note

_CONCURRENCY = 10
_LEFT = "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"


def _make_app(dsn: str) -> App:
    import procrastinate

    size = _CONCURRENCY + 1
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=size, max_size=size))


@contextmanager
def _prepared(dsn: str) -> Iterator[str]:
    async def make_tables() -> None:
        app = _make_app(dsn)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    asyncio.run(make_tables())
    yield dsn


class _Publisher:
    def __init__(self, app: App) -> None:
        self._task = app.configure_task(NAME)

    async def one(self, content: Content) -> None:
        await self._task.defer_async(content=content)

    async def many(self, contents: Sequence[Content]) -> None:
        jobs: list[JSONDict] = [{"content": content} for content in contents]
        await self._task.batch_defer_async(*jobs)


@asynccontextmanager
async def _publishing(dsn: str) -> AsyncIterator[_Publisher]:
    app = _make_app(dsn)
    async with app.open_async():
        yield _Publisher(app)


@asynccontextmanager
async def _working(dsn: str, note: Note) -> AsyncIterator[None]:
    app = _make_app(dsn)

    @app.task(name=NAME)
    async def handle(content: Content) -> None:
        note(content)

    async with app.open_async():
        worker = app.run_worker_async(concurrency=_CONCURRENCY, install_signal_handlers=False)
        async with sessions.running(worker):
            yield


PROCRASTINATE = Alternative(
    name="procrastinate",
    missing=partial(missing_package, "procrastinate"),
    prepared=_prepared,
    publishing=_publishing,
    working=_working,
    looking=partial(sessions.looking, _LEFT),
    is_slow=True,
)
