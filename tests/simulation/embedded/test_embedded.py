"""Seeds on the real SQLite store: few, as each takes a third of a second; many with ``make simulate STORE=sqlite``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.simulation.run import run

ROOT = Path(__file__).parents[3]
SEEDS = 14
PATHS = {"retry", "session lost", "spool flushed", "take-over finished"}


def test_seeds_keep_every_promise_and_reach_every_path_on_a_real_file():
    paths: Counter[str] = Counter()
    for seed in range(SEEDS):
        result = run(seed, store="sqlite")
        paths += result.paths
        assert not result.problems, result.report()
    assert paths.keys() >= PATHS


def test_a_seed_on_a_real_file_is_one_run_in_every_process():
    command = [sys.executable, "-m", "tests.simulation", "--hash", "8..9", "--store", "sqlite"]
    there = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    ).stdout
    assert there == "".join(f"{seed} {run(seed, store='sqlite').trace_hash()}\n" for seed in (8, 9))
