"""Both stores, each behind what breaks its statements."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.statements.ground import PostgresGround, SQLiteGround
from tests.statements.hooks import Hooks
from tests.statements.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.statements.ground import Ground


@pytest.fixture(scope="session")
def the_wire(reused_dsn: str) -> Iterator[Wire]:
    with Wire(reused_dsn) as made:
        yield made


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """Where a sync costs nothing, if there is such a place: most of the time would go into those."""
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


_MEMORY = Path("/dev/shm")


@pytest.fixture(params=["postgres", "file"])
async def ground(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    """Emptied of what tests before have left."""
    if request.param == "postgres":
        dsn = request.getfixturevalue("emptied_dsn")
        faults = request.getfixturevalue("the_wire")
        ground = PostgresGround(dsn, faults)
        await ground.open(dsn, faults.dsn)
        yield ground
        await ground.close()
        return
    path = request.getfixturevalue("memory_folder") / "holdfast.db"
    with Hooks(str(path), monkeypatch) as hooks:
        file = SQLiteGround(hooks)
        await file.open(f"sqlite:///{path}", f"sqlite:///{path}")
        yield file
        await file.close()
