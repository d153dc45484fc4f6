"""The example: two services on two databases, joined by JetStream, started by one command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.relay.servers import program

ROOT = Path(__file__).parents[2]


def test_every_order_is_booked_once_and_in_order() -> None:
    found = program("nats-server", "/usr/sbin/nats-server")
    done = subprocess.run(
        [sys.executable, "-m", "examples.two_services"], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
        env={**os.environ, "ORDERS": "100", "PATH": f"{Path(found).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "100 orders placed, 100 booked, 0 booked twice, order per customer kept"
