"""The stores that the contract is asked of: an SQLite file, SQLite in memory, PostgreSQL, and the simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.ports import wall_millis
from holdfast.stores import make_store
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
