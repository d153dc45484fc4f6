"""What the numbers were measured on. Names no host and no path."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast import __version__

_SYNCS = 50


def machine(folder: Path) -> dict[str, str]:
    """The facts; *folder* is where the data lies."""
    return {
        "processor": processor(),
        "cores": str(cores()),
        "memory": f"{memory_bytes() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "holdfast": __version__,
        "file system": file_system(folder),
        "fdatasync of 8 KiB": f"median {1000 * sync_seconds(folder):.2f} ms",
        "load before": f"{os.getloadavg()[0]:.1f} processes",
    }


def slug() -> str:
    """A short name of this kind of machine, for file names."""
    words = re.sub(r"\((r|tm)\)|\bcpu\b|@.*", " ", processor().lower())
    return f"{'-'.join(re.findall('[a-z0-9]+', words)[:4])}-{cores()}-cores"


def processor() -> str:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def file_system(folder: Path) -> str:
    """The type of the file system that holds *folder*; ``tmpfs`` means that nothing reaches a disk."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    holding = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(holding, key=lambda mount: len(mount[0]))[1] if holding else "unknown"


def sync_seconds(folder: Path) -> float:
    """What a durable write costs here: the median of some small ones."""
    seconds = []
    sync = getattr(os, "fdatasync", os.fsync)
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(bytes(8192))
            file.flush()
            sync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
