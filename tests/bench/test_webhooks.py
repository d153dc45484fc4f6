"""Webhooks under kills, and beside plain requests: the script measures, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_nothing_is_lost_and_both_ways_have_their_figures():
    command = [sys.executable, ROOT / "bench" / "webhooks.py", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    found = dict(zip(rows[0], rows[2], strict=True))
    assert (found["sent"], found["delivered"]) == ("100", "100")
    assert (found["lost"], found["order violations"], found["dead"]) == ("0", "0", "0")
    plain, relayed, ratio = (float(cell.replace(",", "")) for cell in rows[5][1:])
    assert plain > 0
    assert relayed > 0
    assert ratio > 0
