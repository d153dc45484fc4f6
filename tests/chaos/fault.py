"""What a fault is, and what it may ask of the scene that it strikes."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.testing import find_binaries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from random import Random

    from holdfast.testing import LocalPostgres
    from tests.chaos.proxy import Proxy

# Programs that belong to an administrator and may not be on a user's PATH.
_MORE_PATH = "/usr/sbin:/sbin"


class Process(Protocol):
    """One program under test."""

    @property
    def role(self) -> str: ...  # "worker" or "publisher"
    @property
    def pid(self) -> int: ...
    @property
    def is_running(self) -> bool: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def terminate(self) -> None: ...


class Scene(Protocol):
    """The system under test, as a fault sees it. Programs connect through ``proxy``; ``dsn`` leads past it."""

    @property
    def random(self) -> Random: ...
    @property
    def dsn(self) -> str: ...
    @property
    def server(self) -> LocalPostgres | None: ...
    @property
    def proxy(self) -> Proxy | None: ...
    @property
    def processes(self) -> Sequence[Process]: ...
    @property
    def spool(self) -> Path | None: ...  # the folder that publishers spool to
    @property
    def seconds(self) -> float: ...  # how long a fault may last, about 0.2 to 10
    def note(self, fault_name: str, phase: str, **facts: Any) -> None: ...
    async def sleep(self, seconds: float) -> None: ...
    async def run_sql(self, sql: str, dbname: str | None = None) -> list[tuple[Any, ...]]: ...


class BrokenPromiseError(AssertionError):
    """What a fault found out while it struck, and no other fault can excuse."""


@dataclass(frozen=True)
class Need:
    """Something that a machine may lack, and the Debian package that brings it."""

    program: str
    package: str
    condition: str = ""
    """What must be so besides, as a reader of the report may bring it about."""
    holds: Callable[[], bool] = lambda: True

    @property
    def is_met(self) -> bool:
        return find_program(self.program) is not None and self.holds()

    def __str__(self) -> str:
        if find_program(self.program) is None:
            return f"{self.program} (apt install {self.package})"
        return self.condition


@dataclass(frozen=True)
class Fault:
    """One kind of harm. ``strike`` does it for a bounded time, and heals it before it returns, cancelled or not."""

    name: str
    group: str
    strike: Callable[[Scene], Awaitable[None]]
    needs: tuple[Need, ...] = ()
    stores: frozenset[str] = frozenset({"postgres"})

    @property
    def missing(self) -> tuple[Need, ...]:
        """What this machine lacks for it: not empty, and the fault is listed as not run."""
        return tuple(need for need in self.needs if not need.is_met)


@asynccontextmanager
async def noted(scene: Scene, name: str, **facts: Any) -> AsyncIterator[None]:
    """Write into the faults' history when the fault begins and when it is healed, whatever comes between."""
    scene.note(name, "begins", **facts)
    try:
        yield
    finally:
        scene.note(name, "heals")


@cache
def find_program(name: str) -> Path | None:
    """Where a program is: beside the server's, on the PATH, or among an administrator's."""
    folder = find_binaries()
    if folder is not None and os.access(folder / name, os.X_OK):
        return folder / name
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_MORE_PATH}")
    return Path(found) if found else None
