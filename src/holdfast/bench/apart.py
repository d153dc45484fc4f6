"""Measurements run in processes of their own: no memory, cache or garbage of one reaches the next."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

SPAWN = multiprocessing.get_context("spawn")


def apart(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call *function* in a fresh process and return what it returns, or raise what it raises."""
    with ProcessPoolExecutor(max_workers=1, mp_context=SPAWN) as process:
        return process.submit(function, *arguments, **options).result()


def peak_memory() -> int:
    """The most resident memory that this process has had, in bytes.

    Not from getrusage on Linux: there a new process inherits the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
