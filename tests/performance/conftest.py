"""A PostgreSQL server that logs every statement, and a fresh store on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from holdfast.stores import make_store
from holdfast.testing import LocalPostgres
from tests.performance.server_log import SETTINGS, ServerLog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def logging_server() -> Iterator[LocalPostgres]:
    """One of our own, whatever server the other tests use: its log must be ours to set and to read."""
    with LocalPostgres(fsync=False, settings=SETTINGS) as server:
        asyncio.run(_migrate(server.dsn("template1")))
        yield server


async def _migrate(dsn: str) -> None:
    store = make_store(dsn, timeout=30)
    await store.migrate()
    await store.close()


@pytest.fixture
def logged(logging_server: LocalPostgres) -> Iterator[tuple[str, ServerLog]]:
    """DSN of a fresh store, and what the server says of it."""
    name = f"holdfast_test_{uuid4().hex[:12]}"
    with psycopg.connect(logging_server.dsn(), autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
        yield logging_server.dsn(name), ServerLog(logging_server, name)
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture(params=["postgres", "sqlite"])
def dsn(request: pytest.FixtureRequest) -> str:
    """An empty store of each kind, on whatever server the other tests use."""
    found: str = request.getfixturevalue("emptied_dsn" if request.param == "postgres" else "sqlite_dsn")
    return found
