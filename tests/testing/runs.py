"""Runs of pytest in a process of their own, in a folder with a program and its tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_UNUSED = ("cacheprovider", "faker", "hypothesispytest", "platformdirs")


def project(folder: Path, ini: str = "", **files: str) -> Path:
    """*folder*, with settings for pytest and these modules in it."""
    settings = f"[pytest]\nasyncio_default_fixture_loop_scope = function\n{ini}\n"
    (folder / "pytest.ini").write_text(settings, "utf-8")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text), "utf-8")
    return folder


def run_pytest(folder: Path, *arguments: str, status: int = 0) -> str:
    """What pytest prints. It ends with *status*; warnings are errors."""
    without = [word for name in _UNUSED for word in ("-p", f"no:{name}")]
    # With CI set, pytest shows a difference in full, line by line.
    others = ("HOLDFAST_DSN", "PYTEST_", "CI", "BUILD_NUMBER")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *without, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == status, printed
    return printed


def counts(printed: str) -> dict[str, int]:
    """``{"passed": 3}`` of the last line."""
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", printed)}
