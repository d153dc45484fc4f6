"""Seeds on the real SQLite store, by all rules of the checker, and what they would notice of a store with a defect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from holdfast.stores.sqlite import deliveries, leasing, publishing, settling, transactions
from holdfast.stores.values import Appended
from tests.simulation.paths import PATHS
from tests.simulation.run import run

ROOT = Path(__file__).parents[3]
SEEDS = range(575, 625)  # in which the paths lie that few seeds take; many more with ``make simulate STORE=sqlite``
IN_ONE_TEST = 10
ELSEWHERE = {"late commit", "transaction ids handed out again"}  # one writer: positions are the order of commits


@pytest.fixture(scope="module")
def paths() -> Counter[str]:
    """What the seeds of this module have reached together."""
    return Counter()


@pytest.mark.parametrize("first", SEEDS[::IN_ONE_TEST])
def test_seeds_keep_every_promise_on_a_real_file(first, paths):
    for seed in range(first, first + IN_ONE_TEST):
        result = run(seed, store="sqlite")
        paths += result.paths
        assert not result.problems, result.report()


def test_every_path_was_reached_on_a_real_file(paths):
    if sum(paths.values()) == 0:
        pytest.skip("the seeds were not run")
    assert PATHS - ELSEWHERE - paths.keys() == set()


def test_a_seed_on_a_real_file_is_one_run_in_every_process():
    command = [sys.executable, "-m", "tests.simulation", "--hash", "196..198", "--store", "sqlite"]
    there = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    ).stdout
    assert there == "".join(f"{seed} {run(seed, store='sqlite').trace_hash()}\n" for seed in (196, 197, 198))


def store_single_events_only(session, events, *, atomic):
    return [Appended.STORED] * len(events) if len(events) > 1 else append(session, events, atomic=atomic)


def call_every_lease_clean(*arguments):
    return [lease._replace(lost=False, clean=True) for lease in acquire(*arguments)]


append, acquire = publishing.append, leasing.acquire
DEFECTS = {
    "events that are acknowledged and not stored": (
        publishing, "append", store_single_events_only, 182, "lost_publishes",
    ),
    "outcomes under a lost lease": (settling, "held", lambda _, epochs: set(epochs), 68, "old_epochs"),
    "effects without a receipt": (transactions, "_write_receipt", lambda *_: True, 190, "effects"),
    "effects of what failed": (
        transactions, "_close", lambda connection, _: connection.execute("commit"), 190, "effects",
    ),
    "keys that wait for nobody": (
        deliveries, "blocked_keys", lambda _, slices: {one: {} for one in slices}, 46, "overtakings",
    ),
    "receipts that are not found": (deliveries, "known", lambda *_: set(), 20, "repeats"),
    "owners that vanish unnoticed": (leasing, "acquire", call_every_lease_clean, 187, "repeats"),
    "suspects that nobody takes up": (deliveries, "suspects", lambda *_: [], 8, "Lagging"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "name", "defect", "seed", "rule"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_of_the_store_is_noticed(module, name, defect, seed, rule, monkeypatch):
    monkeypatch.setattr(module, name, defect)
    assert any(problem.startswith(f"{rule}: ") for problem in run(seed, store="sqlite").problems)
