"""
The plugin that pytest loads: fixtures for tests of a program's events, and ``--holdfast-faults``.

Every run of pytest imports this module where Holdfast is installed, so nothing else of it is imported before a fixture is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast import EventBus, SyncEventBus
    from holdfast.testing.clock import Clock
    from holdfast.testing.databases import Databases
    from holdfast.testing.faults import Faults
    from holdfast.testing.published import PublishedEvents
    from holdfast.testing.staging import Stage

_FAULT_RUNS = "holdfast_fault_runs"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("holdfast").addoption(
        "--holdfast-faults",
        action="store_true",
        help="Run tests that use the bus once more under each fault, and name the handlers that are not idempotent.",
    )
    parser.addini("holdfast_bus", "The bus whose handlers are tested, as MODULE:BUS.", default="")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("holdfast_faults"):
        from holdfast.testing.faultruns import FaultRuns

        config.pluginmanager.register(FaultRuns(), _FAULT_RUNS)


@pytest.fixture
def holdfast_bus(pytestconfig: pytest.Config) -> EventBus | SyncEventBus:
    """The bus under test: what the ini option ``holdfast_bus`` names, else one without subscriptions. To be overridden."""
    if place := pytestconfig.getini("holdfast_bus"):
        from holdfast.testing.staging import bus_at

        return bus_at(place)
    from holdfast import SyncEventBus

    return SyncEventBus("sqlite://")


@pytest.fixture
def holdfast_dsn() -> str:
    """The store of a test: memory. To be overridden, as by `postgres_dsn`."""
    return "sqlite://"


@pytest.fixture
def holdfast_fault(request: pytest.FixtureRequest) -> Faults | None:
    """What handlers go through under ``--holdfast-faults``."""
    kind: str | None = getattr(request, "param", None)
    if kind is None:
        return None
    runs: Any = request.config.pluginmanager.get_plugin(_FAULT_RUNS)
    made: Faults = runs.faults(request.node, kind)
    return made


@pytest.fixture
def holdfast_stage(
    holdfast_bus: EventBus | SyncEventBus, holdfast_dsn: str, holdfast_fault: Faults | None
) -> Iterator[Stage]:
    """The bus under test on the test's store, with its clock and what was published."""
    from holdfast.testing.staging import stage

    with stage(holdfast_bus, holdfast_dsn, faults=holdfast_fault) as staged:
        yield staged


@pytest.fixture
def bus(holdfast_stage: Stage) -> EventBus:
    """The bus under test, an `EventBus`, on a store of this test's own."""
    return holdfast_stage.bus


@pytest.fixture
def sync_bus(holdfast_stage: Stage) -> SyncEventBus:
    """The same for tests that are plain functions: a `SyncEventBus`."""
    return holdfast_stage.require_threaded()


@pytest.fixture
def published(holdfast_stage: Stage) -> PublishedEvents:
    """The events that were published: ``published.assert_one("order.placed", order_id=1)``."""
    return holdfast_stage.published


@pytest.fixture
def clock(holdfast_stage: Stage) -> Clock:
    """The clock of the store: ``clock.advance(3600)``."""
    return holdfast_stage.clock


@pytest.fixture(scope="session")
def holdfast_postgres() -> Iterator[Databases]:
    """Makes databases with the tables of Holdfast, on ``HOLDFAST_TEST_DSN`` or a server that runs for the session."""
    from holdfast.testing.databases import Databases, server

    with server() as dsn:
        databases = Databases(dsn)
        try:
            yield databases
        finally:
            databases.close()


@pytest.fixture
def postgres_dsn(holdfast_postgres: Databases) -> Iterator[str]:
    """The DSN of a fresh PostgreSQL database with the tables of Holdfast."""
    with holdfast_postgres.fresh() as dsn:
        yield dsn
