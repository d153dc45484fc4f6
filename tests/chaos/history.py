"""Histories: one file of JSON lines per process, each line one write, made before and after what it tells of."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """Appends lines to a file. A line that was written outlives the process, though not the machine."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._pid = os.getpid()

    def note(self, what: str, **facts: Any) -> None:
        line = {"what": what, "at": time.monotonic(), "wall": time.time(), "pid": self._pid, **facts}
        os.write(self._file, (json.dumps(line) + "\n").encode())


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines: the last one may be cut off where the disk was full or the process is just writing it."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def read_all(folder: Path) -> list[dict[str, Any]]:
    """The lines of every process in the order of their time: one clock, as all run on one machine."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in read(path)]
    return sorted(lines, key=lambda line: line["at"])
