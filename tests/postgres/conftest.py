"""An open PostgreSQL store, for what only PostgreSQL can get wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.stores import make_store
from tests.contract.harness import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def scene(migrated_dsn: str) -> AsyncIterator[Scene]:
    scene = Scene("postgres", migrated_dsn, make_store(migrated_dsn, timeout=10))
    await scene.store.open()
    yield scene
    await scene.close()
