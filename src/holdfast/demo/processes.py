"""The demo's child processes. None outlives the demo: each ends when the pipe to its standard input closes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import holdfast

_STOP_SECONDS = 30

# BEGIN IMMEDIATE takes the write lock of an SQLite file; it is given back when standard input ends.
_HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("begin immediate")
print("locked", flush=True)
sys.stdin.read()
connection.execute("rollback")
"""


class Child:
    """A Python process of its own session, so that Ctrl-C reaches the demo alone, which then ends its children."""

    def __init__(self, *arguments: str, log: Path) -> None:
        # -P, and our own folder ahead: the same Holdfast runs whatever lies in the current directory.
        home = str(Path(holdfast.__file__).parents[1])
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_for_line(self) -> str:
        """The next line that it prints; empty when it ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def kill(self) -> None:
        """SIGKILL: it has no chance to say goodbye."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """Close its standard input, and return its exit code when it has ended; SIGKILL after half a minute."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        if self.runs:
            self._process.kill()
        return self._end()

    def _end(self) -> int:
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code


def worker(dsn: str, ledger: Path, log: Path) -> Child:
    """Start a worker of the shops."""
    return Child("-m", "holdfast.demo.worker", dsn, str(ledger), log=log)


def lock_holder(database: Path, log: Path) -> Child:
    """Start a process that holds the write lock of an SQLite file; returns once it does."""
    child = Child("-c", _HOLD_LOCK, str(database), log=log)
    child.wait_for_line()
    return child
