"""Measurements run in processes of their own: no memory, cache or garbage of one reaches the next."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

P = ParamSpec("P")
T = TypeVar("T")

SPAWN = multiprocessing.get_context("spawn")


def apart(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call *function* in a fresh process and return what it returns, or raise what it raises.

    Raises:
        ChildProcessError: The process ended without an answer.
    """
    here, there = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_answer, args=(there, function, arguments, options))
    # Multiprocessing would start its tracker in the midst of the first start, and end there what is blocked below.
    resource_tracker.ensure_running()
    try:
        with _interrupts_blocked():  # what is put off is raised at its end: by then there is something to kill
            process.start()
        there.close()
        result, error = here.recv()
    except EOFError:
        process.join()
        raise ChildProcessError(f"a measuring process ended with code {process.exitcode} and no answer") from None
    except BaseException:
        _kill_group(process)
        raise
    finally:
        if process.pid is not None:
            process.join()
        here.close()
    if error is not None:
        raise error
    measured: T = result
    return measured


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """
    A process started inside never sees Ctrl-C, which reaches all of a terminal: this one alone ends and cleans up.

    Here it is only put off, and SIGTERM too: a process whose start is broken off reports that it knows not what to do.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill_group(process: SpawnProcess) -> None:
    """End what measures, and what that has started: nothing may write while the place is cleared."""
    if process.pid is None:
        return
    with suppress(ProcessLookupError):  # it had no time yet to make a group
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _answer(there: Connection, function: Callable[..., Any], arguments: Any, options: Any) -> None:
    os.setpgrp()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        answer: tuple[Any, Exception | None] = (function(*arguments, **options), None)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again over there
        error.add_note(traceback.format_exc())  # the traceback itself cannot travel
        answer = (None, error)
    there.send(answer)


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
