"""A bench on each store: processes, their ledger, and the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pg(postgres_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(postgres_dsn, tmp_path) as bench:
        bench.prepare()
        yield bench


@pytest.fixture
def lite(sqlite_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(sqlite_dsn, tmp_path) as bench:
        bench.prepare()
        yield bench


@pytest.fixture(params=["pg", "lite"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Either store."""
    return request.getfixturevalue(request.param)
