"""Buses on every store, closed after the test whatever happened in it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import EventBus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spool in anybody's home, no settings from outside."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HOLDFAST_DSN", "HOLDFAST_SPOOL", "HOLDFAST_ARCHIVE", "HOLDFAST_AUTO_MIGRATE", "HOLDFAST_WORKER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def dsn(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    return _dsn(request)


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_dsn(request: pytest.FixtureRequest) -> str:
    """Each kind of store that somebody else can look into."""
    return _dsn(request)


@pytest.fixture(params=["sqlite", "postgresql"])
def own_dsn(request: pytest.FixtureRequest) -> str:
    """The same, for tests that change tables: nobody else gets the database."""
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "migrated_dsn")
    return found


def _dsn(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "sqlite://"
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "emptied_dsn")
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


@pytest.fixture
def bus(dsn: str, make_bus: Callable[..., EventBus]) -> EventBus:
    """A bus on each kind of store."""
    return make_bus(dsn)


@pytest.fixture
def shared_bus(shared_dsn: str, make_bus: Callable[..., EventBus]) -> EventBus:
    """A bus on each kind of store that somebody else can look into."""
    return make_bus(shared_dsn)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """``script(source, name="app")``: a program's file."""

    def write(source: str, name: str = "app") -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return write
