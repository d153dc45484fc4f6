"""An example served as its first lines say, from an empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.bus.waiting import program_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextmanager
def served(shop: str, folder: Path, dsn: str) -> Iterator[httpx.Client]:
    """A client of the shop, which is stopped in the end as a server is, and has nothing to complain about."""
    environment = program_environment({"HOLDFAST_DSN": dsn, "STAFF_PASSWORD": "please"})
    environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    command = [sys.executable, "-m", "uvicorn", shop, "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        while not (found := re.search(r"running on (\S+)", "".join(said[-1:]))):
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        try:
            with httpx.Client(base_url=found[1], timeout=20) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            said.append(process.communicate(timeout=30)[1])
    errors = "".join(said)
    assert "Application shutdown complete" in errors, errors
    assert "Traceback" not in errors, errors
