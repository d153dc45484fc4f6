"""A process is killed at each statement, and at each part of a write, of what stores, settles and handles in SQLite."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from holdfast.stores.sqlite import SQLiteStore
from tests.crash.harness import ROOT, complete_lines
from tests.statements.state import contradictions, of_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.statements.state import State


@pytest.mark.parametrize("kill", ["statement", "write"])
@pytest.mark.parametrize("step", ["publish", "settle", "handle"])
async def test_a_killed_process_leaves_whole_transactions_and_all_that_was_acknowledged(
    tmp_path: Path, step: str, kill: str
):
    await make_file(tmp_path / "empty.db")
    acknowledged = lives(tmp_path, step, kill)
    stages = [await reopened(tmp_path / f"step-{number}.db") for number in range(3)]
    ends = []
    for number in range(len(list(tmp_path.glob(f"{kill}-*.db")))):
        found = await reopened(tmp_path / f"{kill}-{number}.db")
        assert found in stages, f"{kill} {number} of {step} has left a part of a transaction"
        ends.append(stages.index(found))
        known = acknowledged[f"{kill}-{number}"]
        assert known <= ends[-1] <= known + 1, f"{kill} {number} of {step} has lost what was acknowledged"
    print(f"{len(ends)} lives of {step}, killed at each {kill}: {ends}")
    assert ends == sorted(ends)
    assert Counter(ends).keys() == {0, 1, 2}


async def make_file(path: Path) -> None:
    await reopen(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table effects (n integer)")


def lives(folder: Path, step: str, kill: str) -> Counter[str]:
    """Run them; returns how many steps were acknowledged to each."""
    ledger = folder / "ledger.jsonl"
    settings = {"folder": str(folder), "ledger": str(ledger), "step": step, "kill": kill}
    subprocess.run([sys.executable, "-m", "tests.crash.programs.die", json.dumps(settings)], check=True, cwd=ROOT)
    return Counter(line["life"] for line in complete_lines(ledger))


async def reopened(path: Path) -> State:
    """What there is when the file is opened again, as its next user does it."""
    await reopen(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        state = of_sqlite(connection)
    assert contradictions(state) == []
    return state


async def reopen(path: Path) -> None:
    store = SQLiteStore(str(path))
    await store.open()
    await store.close()
