"""Buses on both stores; and what a test declares is undone after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast import EventBus, SyncEventBus
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from holdfast.typed import registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from holdfast.stores.records import EventDetail


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spool in anybody's home, no settings from outside."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HOLDFAST_DSN", "HOLDFAST_SPOOL", "HOLDFAST_MASTER_KEYS_FILE", "HOLDFAST_AUTO_MIGRATE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _own_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types and upcasters that a test declares are gone after it."""
    monkeypatch.setattr(registry, "_events", dict(registry._events))
    monkeypatch.setattr(registry, "_upcasters", {name: dict(steps) for name, steps in registry._upcasters.items()})


@pytest.fixture
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that has declared nothing yet."""
    monkeypatch.setattr(registry, "_events", {})
    monkeypatch.setattr(registry, "_upcasters", {})


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "emptied_dsn")
    return found


@pytest.fixture
async def make_bus() -> AsyncIterator[Callable[..., EventBus]]:
    """``make_bus(dsn, **options)``."""
    made: list[EventBus] = []

    def make(dsn: str = "sqlite://", **options: Any) -> EventBus:
        made.append(EventBus(dsn, **{"auto_migrate": True, "spool": "off", "stop_timeout": 2, **options}))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()


@pytest.fixture
def sync_bus(dsn: str) -> Iterator[SyncEventBus]:
    """The bus for threads, on each kind of store."""
    bus = SyncEventBus(dsn, auto_migrate=True, spool="off", stop_timeout=2)
    yield bus
    bus.close()


@pytest.fixture
def detail() -> Callable[..., Any]:
    """``await detail(dsn, event_id)``: what an inspector shows of an event."""

    async def look(dsn: str, event_id: Any) -> EventDetail:
        store = make_store(dsn)
        inspector, _ = make_inspector(store)
        try:
            return await inspector.event(event_id)
        finally:
            await inspector.close()
            await store.close()

    return look
