"""An open PostgreSQL store, for what only PostgreSQL can get wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.stores import make_store
from tests.contract.harness import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def scene(emptied_dsn: str) -> AsyncIterator[Scene]:
    async for scene in opened(emptied_dsn):
        yield scene


@pytest.fixture
async def scene_of_its_own(migrated_dsn: str) -> AsyncIterator[Scene]:
    """In a database whose tables and settings the test may change."""
    async for scene in opened(migrated_dsn):
        yield scene


async def opened(dsn: str) -> AsyncIterator[Scene]:
    scene = Scene("postgres", dsn, make_store(dsn, timeout=10))
    await scene.store.open()
    yield scene
    await scene.close()
