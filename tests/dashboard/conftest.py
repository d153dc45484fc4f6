from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from .harness import fill


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request, tmp_path_factory):
    """DSN of a store of each kind, and the ids of its events; for tests that do not change it."""
    if request.param == "sqlite":
        dsn = f"sqlite:///{tmp_path_factory.mktemp('store') / 'events.db'}"
    else:
        dsn = request.getfixturevalue("migrated_copies")()
    with ThreadPoolExecutor(1) as thread:  # this one may have a loop
        ids = thread.submit(asyncio.run, fill(dsn)).result()
    return dsn, ids


@pytest.fixture
async def own_store(tmp_path):
    """The same, in SQLite, for one test."""
    dsn = f"sqlite:///{tmp_path / 'events.db'}"
    return dsn, await fill(dsn)


@pytest.fixture(autouse=True)
def no_spool_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
