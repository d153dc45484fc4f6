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
    from collections.abc import Iterator

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
    yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """Name of a database with the tables of Holdfast, to be copied: faster than to migrate anew for each test."""
    name = f"holdfast_template_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
    with ThreadPoolExecutor(1) as thread:  # this thread may belong to a loop already
        thread.submit(asyncio.run, _migrate(urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}")))).result()
    yield name
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)')


async def _migrate(dsn: str) -> None:
    store = make_store(dsn, timeout=30)
    await store.migrate()
    await store.close()


@pytest.fixture
def migrated_dsn(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """DSN of a fresh database that has the tables of Holdfast, dropped after the test."""
    name = f"holdfast_test_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'create database "{name}" template "{migrated_template}"')
    yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)')


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
