"""
Celery on Redis, which writes every change to its disk before it answers, as PostgreSQL does.

A task is acknowledged when it has run: acknowledged before, as is the default, it would be lost with its worker. The
worker's pool is ``solo``, which hands nothing to another process; its handlers are plain functions. The Redis is the one
that the environment variable HOLDFAST_BENCH_REDIS names, with its own idea of durability, or a ``redis-server`` that is
started for the measurement.
"""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from holdfast.bench.alternatives import redis_server
from holdfast.bench.alternatives.alternative import Alternative, missing_package
from holdfast.bench.workload import NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from celery import Celery  # type: ignore[import-untyped]
    from redis import Redis

    from holdfast.bench.alternatives.alternative import Content, Left, Note

_VARIABLE = "HOLDFAST_BENCH_REDIS"
_PREFIX = "holdfast_bench:"
_QUEUE = "events"
_PREFETCHED = 128


def _missing() -> str | None:
    if os.environ.get(_VARIABLE) is None and shutil.which("redis-server") is None:
        return f"no redis-server is on the PATH, and the environment variable {_VARIABLE} names none"
    return missing_package("celery") or missing_package("redis")


@contextmanager
def _prepared(dsn: str) -> Iterator[str]:
    del dsn  # its events lie elsewhere
    _embedded_worker()  # which takes long to import: now, when no clock runs
    named = os.environ.get(_VARIABLE)
    if named is None:
        with redis_server.started() as address:
            yield address
        return
    _clear(named)
    try:
        yield named
    finally:
        _clear(named)


def _client(address: str) -> Redis:
    import redis

    return redis.Redis.from_url(address)


def _clear(address: str) -> None:
    with _client(address) as client:
        for key in client.scan_iter(f"{_PREFIX}*"):
            client.delete(key)


def _make_app(address: str) -> Celery:
    from celery import Celery

    app = Celery("holdfast_bench", broker=address, set_as_current=False)
    app.conf.update(
        broker_transport_options={"global_keyprefix": _PREFIX},
        task_default_queue=_QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
        worker_disable_rate_limits=True,
        worker_prefetch_multiplier=_PREFETCHED,
    )
    return app


class _Publisher:
    def __init__(self, app: Celery, producer: Any) -> None:
        self._app, self._producer = app, producer

    async def one(self, content: Content) -> None:
        self._app.send_task(NAME, (content,))

    async def many(self, contents: Sequence[Content]) -> None:
        for content in contents:  # it has no other way; one producer for all is what its manual advises
            self._app.send_task(NAME, (content,), producer=self._producer)


@asynccontextmanager
async def _publishing(address: str) -> AsyncIterator[_Publisher]:
    with _make_app(address) as app, app.producer_or_acquire() as producer:
        yield _Publisher(app, producer)


def _embedded_worker() -> Any:
    """Its worker in a thread of a program, rather than as a program."""
    from celery.contrib.testing.worker import start_worker  # type: ignore[import-untyped]

    return start_worker


@asynccontextmanager
async def _working(address: str, note: Note) -> AsyncIterator[None]:
    def handle(content: Content) -> None:
        note(content)

    with _make_app(address) as app:
        app.task(handle, name=NAME)
        with _embedded_worker()(app, pool="solo", perform_ping_check=False):
            yield


@contextmanager
def _looking(address: str) -> Iterator[Left]:
    with _client(address) as client:
        yield lambda: int(client.llen(_PREFIX + _QUEUE)) + int(client.hlen(f"{_PREFIX}unacked"))


CELERY = Alternative(
    name="Celery on Redis",
    missing=_missing,
    prepared=_prepared,
    publishing=_publishing,
    working=_working,
    looking=_looking,
    is_slow=True,
    in_postgres=False,
)
