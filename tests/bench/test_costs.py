"""What an event costs, and where: the table tells of a path how long it takes on either side."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, which is Linux's")
def test_a_path_has_its_costs():
    command = [sys.executable, ROOT / "bench" / "costs.py", "100", "no-op"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (row,) = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| drain")]
    name, events, *times, shares = row
    assert (name, events) == ("drain, no-op async handler", "500")
    clock, client, server = (float(one.replace(",", "")) for one in times)
    assert clock > client > 0, "microseconds an event"
    assert server > 0
    assert re.fullmatch(r"[\w.]+ \d+ %(, [\w.]+ \d+ %)*", shares)
