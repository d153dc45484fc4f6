"""Databases of the relay's tests, and surroundings of their own."""

from __future__ import annotations

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
    names = ("HOLDFAST_DSN", "HOLDFAST_SPOOL", "HOLDFAST_AUTO_MIGRATE", "HOLDFAST_WORKER", "HOLDFAST_WEBHOOK_SECRET")
    for name in names:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    """Where a relay's events come from."""
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def other_dsn(emptied_dsn: str) -> str:
    """Another service's database."""
    return emptied_dsn


@pytest.fixture(params=["sqlite", "postgresql"])
def either_dsn(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "emptied_dsn")
    return found


@pytest.fixture
async def make_bus() -> AsyncIterator[Callable[..., EventBus]]:
    """``make_bus(dsn, **options)``: closed after the test, whatever happened in it."""
    made: list[EventBus] = []

    def make(dsn: str, **options: Any) -> EventBus:
        usual = {"auto_migrate": True, "spool": "off", "stop_timeout": 2, "store_timeout": 5, "poll_interval": 0.01}
        made.append(EventBus(dsn, **{**usual, **options}))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()


@pytest.fixture
def bus(either_dsn: str, make_bus: Callable[..., EventBus]) -> EventBus:
    """A bus on each kind of store."""
    return make_bus(either_dsn)
