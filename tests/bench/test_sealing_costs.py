"""What sealing costs the drain: the script measures both stores and judges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, which is Linux's")
def test_sealing_and_the_drain_beside_it_have_their_figures():
    command = [sys.executable, ROOT / "bench" / "sealing.py", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    header, _, *stores = rows
    assert [store for store, *_ in stores] == ["PostgreSQL", "SQLite"]
    for row in stores:
        found = dict(zip(header, row, strict=True))
        assert found["events"] == "1,000"
        rates = [found[name] for name in ("seal", "verify", "CPU", "drain", "drain, sealer beside", "drain's CPU")]
        assert all(float(rate.replace(",", "")) > 0 for rate in rates)
        assert (float(found["cost"].removesuffix(" %")) < 10) == (found["under 10 %"] == "yes")
