"""Events, and operating systems that fail, for the tests of the spool."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.event import NewEvent
from holdfast.spool_file import System

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.spool import AnySpool

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)


def event(number: int, *, key: str | None = "k", tenant_id: str = "acme", payload: bytes | None = None) -> NewEvent:
    return NewEvent(
        id=UUID(int=number),
        tenant_id=tenant_id,
        name="order.placed",
        key=key,
        payload=b'{"n":%d}' % number if payload is None else payload,
        headers=b'{"h":"\xc3\xa9"}' if number % 2 else None,
        occurred_at=NOW + timedelta(microseconds=number % 10**9),
    )


def events_of(spool: AnySpool) -> list[NewEvent]:
    """All that is pending, in order; nothing is removed."""
    return [record.event for record in spool.peek(2**30, max_bytes=2**40)]


def drain(spool: AnySpool, count: int = 2**30) -> list[NewEvent]:
    records = spool.peek(count, max_bytes=2**40)
    spool.remove(records)
    return [record.event for record in records]


def is_subsequence(some: Sequence[Any], of: Sequence[Any]) -> bool:
    rest = iter(of)
    return all(any(one == other for other in rest) for one in some)


class UnsyncedSystem(System):
    """Fast: for tests in which no machine dies."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


class Killed(BaseException):
    """The process is gone: raised by every operation from the fatal one on."""


_STEPS = (
    "make_directory", "create", "open", "open_or_create", "read",
    "write", "truncate", "sync", "sync_directory", "rename", "unlink",
)  # fmt: skip


class CountedSystem(UnsyncedSystem):
    """Counts its steps and lets a subclass intervene before each; knows what it has open, as a kernel does."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.descriptors: set[int] = set()

    def before(self, step: str) -> None:
        """Raise here to make the step fail."""

    def end_of_process(self) -> None:
        for descriptor in self.descriptors:
            super().close(descriptor)
        self.descriptors = set()

    def close(self, descriptor: int) -> None:
        if descriptor in self.descriptors:  # not after the end of the process
            self.descriptors.remove(descriptor)
            super().close(descriptor)


def _counted(name: str) -> Any:
    def step(self: CountedSystem, *args: Any) -> Any:
        self.steps.append(name)
        self.before(name)
        result = getattr(super(CountedSystem, self), name)(*args)
        if name in ("create", "open", "open_or_create"):
            self.descriptors.add(result)
        return result

    return step


for _name in _STEPS:
    setattr(CountedSystem, _name, _counted(_name))


class FailingSystem(CountedSystem):
    """Fails at step *fatal* (from 1), once or from then on, with ENOSPC; None never."""

    def __init__(self, fatal: int | None = None, *, stays_down: bool = False) -> None:
        super().__init__()
        self.fatal, self.stays_down = fatal, stays_down
        self.failed: list[str] = []

    def before(self, step: str) -> None:
        count = len(self.steps)
        if self.fatal is not None and (count == self.fatal or (self.stays_down and count > self.fatal)):
            self.failed.append(step)
            raise OSError(errno.ENOSPC, "No space left on device")


class FailingStep(CountedSystem):
    """Fails at the steps named in ``failing``, which tests change as they go."""

    def __init__(self, *failing: str) -> None:
        super().__init__()
        self.failing = set(failing)

    def before(self, step: str) -> None:
        if step in self.failing:
            raise OSError(errno.EIO, "Input/output error")


class ShortWrites(UnsyncedSystem):
    """Writes *most* bytes at a time, and once *room* bytes are written, nothing more."""

    def __init__(self, most: int, room: int = 2**62) -> None:
        self.most, self.room = most, room

    def write(self, descriptor: int, content: memoryview, at: int) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(descriptor, content[: min(self.most, self.room)], at)
        self.room -= written
        return written


class PowerCut(CountedSystem):
    """Goes down before step *fatal*; what was synced by then is what `survivors` leaves on the disk."""

    def __init__(self, fatal: int) -> None:
        super().__init__()
        self.fatal = fatal
        self._contents: dict[int, bytes] = {}
        self._entries: dict[Path, dict[str, int]] = {}

    def before(self, step: str) -> None:
        if len(self.steps) >= self.fatal:
            raise Killed(step)

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._contents.pop(os.fstat(descriptor).st_ino, None)  # the number of a file that was deleted before
        return descriptor

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        stat = os.fstat(descriptor)
        self._contents[stat.st_ino] = os.pread(descriptor, stat.st_size, 0)

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self._entries[path] = {entry.name: entry.stat().st_ino for entry in path.iterdir()}

    def keeps(self, path: Path) -> bool:
        """Whether the entry of *path* in its directory survives a cut."""
        return path.name in self._entries.get(path.parent, {})

    def survivors(self, directory: Path, target: Path) -> None:
        """Write into *target* what of *directory* a machine finds after the cut."""
        target.mkdir()
        for name, inode in self._entries.get(directory, {}).items():
            (target / name).write_bytes(self._contents.get(inode, b""))
