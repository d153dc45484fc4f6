"""What encryption costs: the script measures both stores, with and without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_store_has_its_figures_with_and_without_and_the_codec_alone():
    command = [sys.executable, ROOT / "bench" / "encryption.py", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    header, _, *stores = rows
    assert [store for store, *_ in stores] == ["PostgreSQL", "SQLite"]
    for row in stores:
        found = dict(zip(header, row, strict=True))
        assert found["events"] == "500"
        for name in ("publish", "publish, CPU", "drain", "drain, CPU"):
            without, with_it = found[name].split(" → ")
            assert float(without.replace(",", "")) > 0
            assert float(with_it.split()[0].replace(",", "")) > 0
    assert re.search(r"encrypting \d+\.\d µs, decrypting \d+\.\d µs", done.stdout)
