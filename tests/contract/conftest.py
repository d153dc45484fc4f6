"""The stores that the contract is asked of: an SQLite file, SQLite in memory, PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.stores import make_store
from tests.contract.harness import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=["file", "memory", "postgres"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    dsns = {"file": f"sqlite:///{tmp_path / 'events.db'}", "memory": "sqlite://"}
    dsn = dsns.get(request.param) or request.getfixturevalue("emptied_dsn")
    scene = Scene(request.param, dsn, make_store(dsn, timeout=10))
    await scene.store.open()
    yield scene
    await scene.close()
