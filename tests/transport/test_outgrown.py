"""The example: from one database to two services on a cluster, started by one command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.relay.servers import program

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_not_a_line_of_a_handler_changes_and_each_order_is_invoiced_once() -> None:
    found = program("nats-server", "/usr/sbin/nats-server")
    done = subprocess.run(
        [sys.executable, "-m", "examples.outgrown"], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "ORDERS": "50", "PATH": f"{Path(found).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == (
        "100 orders placed, 50 invoiced by the one database and 50 by billing's own, 0 invoiced twice, "
        "order per customer kept"
    )
