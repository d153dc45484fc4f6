"""A cluster, and a database for each of three services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from holdfast import EventBus

from .cluster import NatsCluster
from .databases import Dsns, prepared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spool in anybody's home, no settings from outside."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HOLDFAST_DSN", "HOLDFAST_SPOOL", "HOLDFAST_AUTO_MIGRATE", "HOLDFAST_WORKER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def _databases(postgres_server: str) -> Iterator[Dsns]:
    made = Dsns.made(postgres_server)
    yield made
    made.drop(postgres_server)


@pytest.fixture
def dsns(_databases: Dsns) -> Dsns:
    """Databases with the tables of Holdfast, nothing in them, and a table of what was booked."""
    prepared(_databases)
    return _databases


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def cluster(_cluster: NatsCluster) -> NatsCluster:
    """Three servers, whole again whatever the test before has done to them."""
    await _cluster.heal()
    return _cluster


@pytest.fixture
def stream() -> str:
    """A name that no other test has."""
    return f"s{uuid4().hex[:10]}"


@pytest.fixture
async def make_bus() -> AsyncIterator[Callable[..., EventBus]]:
    """``make_bus(dsn, transport, service)``: closed after the test, whatever happened in it."""
    made: list[EventBus] = []

    def make(dsn: str, transport: str, service: str, **options: Any) -> EventBus:
        usual = {"spool": "off", "stop_timeout": 2, "store_timeout": 5, "poll_interval": 0.01, "lease_ttl": 2}
        made.append(EventBus(dsn, transport=transport, service=service, **{**usual, **options}))
        return made[-1]

    yield make
    for bus in reversed(made):
        await bus.close()
