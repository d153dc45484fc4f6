"""The stores that the contract is asked of: an SQLite file, SQLite in memory, PostgreSQL, and the simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from holdfast.ports import wall_millis
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from tests.contract.desk import Desk
from tests.contract.harness import Scene, SimulatedScene
from tests.contract.skips import missing_capability
from tests.simulation.server import Server
from tests.simulation.store import SimulatedStore
from tests.simulation.wire import DirectWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=["file", "memory", "postgres", "simulated"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    if request.param == "simulated":
        if (missing := missing_capability(request.node)) is not None:
            pytest.skip(f"the simulated store has no {missing}")
        server = Server(lambda: wall_millis() / 1000)
        yield SimulatedScene("simulated", "", SimulatedStore(server, DirectWire()), server=server)
        return
    dsns = {"file": f"sqlite:///{tmp_path / 'events.db'}", "memory": "sqlite://"}
    dsn = dsns.get(request.param) or request.getfixturevalue("emptied_dsn")
    scene = Scene(request.param, dsn, make_store(dsn, timeout=10))
    await scene.store.open()
    yield scene
    await scene.close()


@pytest.fixture(params=["sqlite", "memory", "postgres"])
def desk_dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind, whose schema a test may change."""
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_dsn")
        return found
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'events.db'}"


@pytest.fixture
async def desk(desk_dsn: str) -> AsyncIterator[Desk]:
    store = make_store(desk_dsn)
    await store.migrate()
    await store.open()
    inspector, operator = make_inspector(store)
    yield Desk(store, inspector, operator, uuid4())
    await inspector.close()
    await store.close()
