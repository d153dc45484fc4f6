"""``make bench`` works: a tiny form of it measures everything on both stores and says so in its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Bench = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
EVENTS = 500


@pytest.fixture
def bench(postgres_server: str, tmp_path: Path) -> Bench:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", ROOT / "bench" / "run.py", "--dsn", postgres_server, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.mark.timeout(240)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_tiny_benchmark_measures_everything_and_loses_nothing(bench: Bench, tmp_path: Path, store: str):
    folder = tmp_path / "results"
    done = bench("--store", store, "--events", str(EVENTS), "--rounds", "1", "--results", str(folder))

    (path,) = folder.glob("*.json")
    results = json.loads(path.read_text())
    assert results["machine"].keys() >= {"processor", "cores", "python", "file system"}
    assert list(results["stores"]) == [store]
    figures = results["stores"][store]["figures"]
    for figure in ("publish alone", "publish, 200 callers", "publish_many", "drain, no-op async handler"):
        assert figures[figure]["median"]["ratio"] > 0
    for figure, found in figures.items():
        is_drain = figure.startswith(("drain", "raw: drain", "idle"))
        assert_nothing_lost(figure, found["median"], is_counted=is_drain)
    assert {bar["store"] for bar in results["bars"]} <= {store}
    assert "Nothing was lost, nothing was handled twice." in done.stdout
    assert (folder / "latest.md").read_text() == path.with_suffix(".md").read_text()


def assert_nothing_lost(figure: str, numbers: dict[str, Any], *, is_counted: bool) -> None:
    if is_counted:
        assert (figure, numbers["lost"], numbers["repeated"]) == (figure, 0, 0)
    assert numbers.get("wrong_effects", 0) == 0


def test_a_backlog_is_drained_and_its_memory_reported(bench: Bench):
    done = bench("--store", "sqlite", "--backlog", str(EVENTS))

    assert f"sqlite: backlog of {EVENTS} drained in" in done.stdout
    assert "peak memory" in done.stdout
