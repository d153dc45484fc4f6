"""A bench on each store: processes, their ledger, and the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


FAILED = pytest.StashKey[bool]()


def prepared(request: pytest.FixtureRequest, dsn: str, folder: Path) -> Iterator[Bench]:
    bench = Bench(dsn, folder)
    try:
        bench.prepare()
        yield bench
    finally:
        bench.close(failed=request.node.stash.get(FAILED, True))


@pytest.fixture
def pg(request: pytest.FixtureRequest, postgres_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    yield from prepared(request, postgres_dsn, tmp_path)


@pytest.fixture
def lite(request: pytest.FixtureRequest, sqlite_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    yield from prepared(request, sqlite_dsn, tmp_path)


@pytest.fixture(params=["pg", "lite"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Either store."""
    return request.getfixturevalue(request.param)
