"""The operating system below a simulated process's spool: files are real, and the process may die at any byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.spool_file import System

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from random import Random


class Killed(BaseException):
    """The process is gone in the middle of a system call: raised by this one and every later one."""


class SimulatedSystem(System):
    """
    Counts nothing and syncs nothing: a killed process loses no page of the kernel's.

    Args:
        random: The seed's.
        chance: That a call kills the process, 0 to 1.
        kill: Does it.
    """

    def __init__(self, random: Random, chance: float, kill: Callable[[], None]) -> None:
        self._random, self.chance, self._kill = random.random, chance, kill
        self._descriptors: set[int] = set()
        self._gone = False

    def end_of_process(self) -> None:
        self._gone = True
        for descriptor in sorted(self._descriptors):
            super().close(descriptor)
        self._descriptors.clear()

    def _step(self) -> None:
        if not self._gone and self.chance and self._random() < self.chance:
            self._kill()
        if self._gone:
            raise Killed

    def process_id(self) -> int:
        return 1

    def now(self) -> datetime:
        raise NotImplementedError("nothing is refused, so nothing is quarantined")

    def create(self, path: Path) -> int:
        self._step()
        return self._opened(super().create(path))

    def open(self, path: Path) -> int:
        self._step()
        return self._opened(super().open(path))

    def open_or_create(self, path: Path) -> int:
        self._step()
        return self._opened(super().open_or_create(path))

    def _opened(self, descriptor: int) -> int:
        self._descriptors.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        if descriptor in self._descriptors:
            self._descriptors.remove(descriptor)
            super().close(descriptor)

    def write(self, descriptor: int, content: memoryview, at: int) -> int:
        if not self._gone and self.chance and self._random() < self.chance:
            super().write(descriptor, content[: int(self._random() * len(content))], at)
            self._kill()
        self._step()
        return super().write(descriptor, content, at)

    def truncate(self, descriptor: int, size: int) -> None:
        self._step()
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        self._step()

    def sync_directory(self, path: Path) -> None:
        self._step()

    def rename(self, path: Path, target: Path) -> None:
        self._step()
        super().rename(path, target)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)

    def make_directory(self, path: Path) -> None:
        super().make_directory(path)

    def read(self, descriptor: int, size: int, at: int) -> bytes:
        self._step()
        return super().read(descriptor, size, at)
