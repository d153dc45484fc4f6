"""What every test may ask for: a database of either kind, and real-looking events."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import hypothesis
import psycopg
import pytest

from holdfast.stores import make_store
from holdfast.testing import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAMPLE_WEBHOOKS = Path(__file__).parent / "data" / "webhooks.jsonl"

hypothesis.settings.register_profile("dev", print_blob=True, deadline=None)
hypothesis.settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """DSN of a server where databases may be made: ``HOLDFAST_TEST_DSN``, else one that the tests start.

    Never skipped: where there is no PostgreSQL, the error says what was looked for and what to install.
    """
    if given := os.environ.get("HOLDFAST_TEST_DSN"):
        yield given
        return
    with LocalPostgres(fsync=False, settings={"full_page_writes": "off", "shared_buffers": "64MB"}) as server:
        yield server.dsn()


@pytest.fixture
def postgres_dsn(postgres_server: str) -> Iterator[str]:
    """DSN of a fresh empty database, dropped after the test whoever is still connected."""
    name = f"holdfast_test_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'create database "{name}" template template1')
    yield dsn_of(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture(scope="session")
def migrated_copies(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Makes databases that have the tables of Holdfast: copies of one, which is faster than to migrate each."""
    template, made = f"holdfast_template_{uuid4().hex[:12]}", list[str]()
    with psycopg.connect(postgres_server, autocommit=True) as admin, ThreadPoolExecutor(1) as thread:

        def drop(name: str) -> None:
            admin.execute(f'drop database if exists "{name}" with (force)')

        def copy() -> str:
            # Only now the one before goes: the server waits 0.1 s for sessions that are about to end.
            while made:
                drop(made.pop())
            made.append(f"holdfast_test_{uuid4().hex[:12]}")
            admin.execute(f'create database "{made[0]}" template "{template}"')
            return dsn_of(postgres_server, made[0])

        admin.execute(f'create database "{template}"')
        # In a thread, as this one may have a loop that does not run at the moment.
        thread.submit(asyncio.run, _migrate(dsn_of(postgres_server, template))).result()
        yield copy
        for name in (*made, template):
            drop(name)


@pytest.fixture
def migrated_dsn(migrated_copies: Callable[[], str]) -> str:
    """DSN of a fresh database that has the tables of Holdfast; it is gone after the next test."""
    return migrated_copies()


@pytest.fixture(scope="session")
def reused_dsn(postgres_server: str) -> Iterator[str]:
    """DSN of a database that many tests use one after the other; see `emptied_dsn`."""
    name = f"holdfast_test_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as admin, ThreadPoolExecutor(1) as thread:
        admin.execute(f'create database "{name}"')
        thread.submit(asyncio.run, _migrate(dsn_of(postgres_server, name))).result()
        yield dsn_of(postgres_server, name)
        admin.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture
def emptied_dsn(reused_dsn: str) -> str:
    """
    DSN of a database that has the tables of Holdfast, with nothing in them: much faster than `migrated_dsn`.

    For tests that change rows and days, and make tables in the schema ``public`` only.
    """
    with psycopg.connect(reused_dsn, autocommit=True) as connection:
        connection.execute(_EMPTY)
    return reused_dsn


_EMPTY = """
    set search_path = holdfast;
    delete from subscriptions; delete from workers; delete from snapshots; delete from samples; delete from audit;
    delete from event_log; delete from receipts; delete from subject_keys; delete from tenant_grants;
    delete from scheduled; delete from schedules;
    delete from seal_days; delete from seal_segments; delete from sealing; insert into sealing default values;
    drop schema public cascade; create schema public;
    select make_day((clock_timestamp() at time zone 'UTC')::date + n) from generate_series(0, 7) as n;
"""


async def _migrate(dsn: str) -> None:
    store = make_store(dsn, timeout=30)
    await store.migrate()
    await store.close()


def dsn_of(server: str, database: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


@pytest.fixture
def sqlite_dsn(tmp_path: Path) -> str:
    """DSN of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'holdfast.db'}"


@pytest.fixture(scope="session")
def webhooks_path() -> Path:
    """A file with one event a line, as ``holdfast publish --jsonl`` takes it."""
    return Path(os.environ.get("HOLDFAST_WEBHOOKS") or SAMPLE_WEBHOOKS)


@pytest.fixture(scope="session")
def webhooks(webhooks_path: Path) -> list[dict[str, Any]]:
    """The events of `webhooks_path`: mappings with name, tenant_id, key, payload."""
    with webhooks_path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
