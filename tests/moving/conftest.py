"""Stores to move between, both ways, and buses on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from holdfast import EventBus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Ends(NamedTuple):
    """DSNs of a store to move and of an empty one."""

    source: str
    destination: str


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spool in anybody's home, no settings from outside."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HOLDFAST_DSN", "HOLDFAST_SPOOL", "HOLDFAST_ARCHIVE", "HOLDFAST_MASTER_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["to postgresql", "to sqlite"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Ends:
    """From one kind of store to the other."""
    return _ends(
        request, tmp_path, *(("file", "postgres") if request.param == "to postgresql" else ("postgres", "file"))
    )


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "sqlite to sqlite", "postgresql to postgresql"])
def any_ends(request: pytest.FixtureRequest, tmp_path: Path) -> Ends:
    """From each kind of store to each."""
    kinds = [kind.replace("sqlite", "file").replace("postgresql", "postgres") for kind in request.param.split(" to ")]
    return _ends(request, tmp_path, *kinds)


def _ends(request: pytest.FixtureRequest, tmp_path: Path, source: str, destination: str) -> Ends:
    return Ends(
        f"sqlite:///{tmp_path / 'source.db'}" if source == "file" else request.getfixturevalue("migrated_dsn"),
        f"sqlite:///{tmp_path / 'destination.db'}"
        if destination == "file"
        else request.getfixturevalue("postgres_dsn"),
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def own_dsn(request: pytest.FixtureRequest) -> str:
    """Each kind of store, for tests that change tables."""
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "migrated_dsn")
    return found


@pytest.fixture
async def make_bus() -> AsyncIterator[Callable[..., EventBus]]:
    """``make_bus(dsn, **options)``."""
    made: list[EventBus] = []

    def make(dsn: str, **options: Any) -> EventBus:
        bus = EventBus(dsn, **{"auto_migrate": True, "spool": "off", "stop_timeout": 2, "store_timeout": 5, **options})
        made.append(bus)
        return bus

    yield make
    for bus in made:
        await bus.close()
