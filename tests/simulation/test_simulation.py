"""Seeds: each one a run with faults of its own, that must keep every promise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.paths import PATHS
from tests.simulation.run import run
from tests.simulation.size import SIZES

ROOT = Path(__file__).parents[2]
SEEDS = {"small": 500, "large": 60, "outage": 20}  # the large ones for what takes long to come about
TESTS = [(size, first, count // 10) for size, count in SEEDS.items() for first in range(0, count, count // 10)]
KEPT = [
    tuple(line.split()[:2])
    for line in (Path(__file__).parent / "failing_seeds.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture(scope="module")
def paths() -> Counter[str]:
    """What the seeds of this module have reached together."""
    return Counter()


@pytest.mark.parametrize(("size", "first", "count"), TESTS)
def test_seeds_keep_every_promise(size, first, count, paths):
    for seed in range(first, first + count):
        result = run(seed, SIZES[size])
        paths += result.paths
        assert not result.problems, result.report()


@pytest.mark.parametrize(("size", "seed"), KEPT)
def test_a_seed_that_failed_once_fails_no_more(size, seed):
    result = run(int(seed), SIZES[size])
    assert not result.problems, result.report()


def test_every_path_was_reached(paths):
    if sum(paths.values()) == 0:
        pytest.skip("the seeds were not run")
    assert PATHS - paths.keys() == set()


def test_a_seed_is_one_run_in_every_process():
    """Neither the hashes of strings, nor addresses, nor the seeds run before may have a say."""
    seeds = "60..64"
    command = [sys.executable, "-m", "tests.simulation", "--hash", seeds]
    hashes = {
        subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True
        ).stdout
        for salt in ("0", "1")
    }
    here = "".join(f"{seed} {run(seed).trace_hash()}\n" for seed in range(60, 65))
    assert hashes == {here}
