"""What counting costs: the script tells of each path how much it takes, on both stores."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_path_has_its_difference():
    command = [sys.executable, ROOT / "bench" / "counting.py", "50", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    paths = [row for row in rows if row[0].startswith(("handling", "publishing"))]
    assert [name.rpartition(", ")[2] for name, *_ in paths] == ["PostgreSQL", "SQLite"] * 2
    for _, without, more, interval in paths:
        assert float(without) > 0, "microseconds an event"
        assert re.fullmatch(r"[+-]\d+\.\d %", more)
        assert re.fullmatch(r"[+-]\d+\.\d to [+-]\d+\.\d %", interval)
    alone = [row for row in rows if len(row) == 2 and row[1].isdigit()]
    assert len(alone) == 5
    assert all(int(nanoseconds) > 0 for _, nanoseconds in alone[:3])
