"""How long an operator waits: the script asks every question of both stores, and judges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_question_has_its_figures_on_both_stores():
    command = [sys.executable, ROOT / "bench" / "searching.py", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "2,000 events, each question 5 times" in lines[0]
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    header, _, *questions = rows
    assert header == ["looked for", "PostgreSQL p50", "p95", "max", "SQLite p50", "p95", "max"]
    names = [name for name, *_ in questions]
    for wanted in (
        "an id",
        "a key",
        "a correlation",
        "deep in the log",
        "status of all subscriptions",
        "a causation tree",
    ):
        assert wanted in names
    for _, *figures in questions:
        assert len(figures) == 6
        for p50, p95, most in (figures[:3], figures[3:]):
            assert float(p50) <= float(p95) <= float(most)
            assert float(most) > 0
