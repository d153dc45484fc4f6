"""Waiting for a condition instead of sleeping, and what tests of the bus look at from outside."""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

import holdfast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast import EventBus

PATIENCE = 15.0
_PAUSE = 0.005


async def until(condition: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """The first true value of *condition* (which may be async), which must come within so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if loop.time() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(_PAUSE)


async def vanish(bus: EventBus) -> None:
    """What is left when a worker's process is gone: no goodbye, leases that run out, rows in nobody's hands."""
    live = bus._live
    assert live is not None
    worker, minder = live.worker, live._minder
    assert worker is not None
    assert minder is not None
    live.worker = bus._live = None
    minder.cancel()
    await worker.abort()
    await live.store.close()


def until_sync(condition: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """The same without a loop."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {inspect.getsource(condition).strip()}")
        time.sleep(_PAUSE)
    return found


def path_of(dsn: str) -> str:
    return dsn.removeprefix("sqlite:///")


def sql(dsn: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What another program sees or does: a committed statement, with ``?`` for each value."""
    if dsn.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(dsn), isolation_level=None, timeout=10)) as connection:
            return connection.execute(statement, values).fetchall()
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=public,holdfast") as connection:
        cursor = connection.execute(statement.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description else []


def stored(dsn: str) -> list[str]:
    """Names of all stored events, in order of their positions."""
    return [name for (name,) in sql(dsn, "select event_name from event_log order by position")]


def receipts(dsn: str) -> int:
    return int(sql(dsn, "select count(*) from event_consumers")[0][0])


def program_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return {**kept, "PYTHONPATH": str(Path(holdfast.__file__).parents[1]), **(extra or {})}


def start(source: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A program of its own, in which every warning is an error."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(source), *arguments], cwd=source.parent,
        env=program_environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(source: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Its output, once it has ended well and without a word on stderr."""
    with start(source, *arguments, env=env) as process:
        try:
            output, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"the program hangs; so far: {output}\n{errors}") from None
    assert (process.returncode, complaints(errors)) == (0, ""), output + errors
    return output


def complaints(errors: str) -> str:
    """What a program said on stderr, without what asyncio's debug mode says of the speed of this machine."""
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if not (line.startswith("Executing <") and line.endswith(" seconds\n")))
