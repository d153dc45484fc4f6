"""One file of the spool: how it is written, read again and emptied. Its bytes: `holdfast.spool_format`.

Whatever is no intact record is *damage*: it is copied to ``corrupt-*.bin``, and reading goes on at the next marker
that starts an intact record. Only the process that holds the exclusive flock of a file touches it; a file whose lock
is free belongs to nobody alive.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.errors import SpoolError
from holdfast.spool_format import (
    FRAME_SIZE,
    HEADER_SIZE,
    MARKER,
    PREFIX,
    PREFIX_SIZE,
    Damage,
    PendingKeys,
    SpoolRecord,
    body_length,
    decode,
    decode_head,
    encode_head,
    encode_header,
    is_intact,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from holdfast.event import NewEvent

_WINDOW = 2**18
_log = logging.getLogger("holdfast.spool")


class System:
    """The operating system, as the spool uses it. Tests put a failing one in its place."""

    def process_id(self) -> int:
        return os.getpid()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)

    def open_or_create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def lock(self, descriptor: int, *, wait: bool = False) -> bool:
        """Take the exclusive flock; False where another open file has it and *wait* is off."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def read(self, descriptor: int, size: int, at: int) -> bytes:
        return os.pread(descriptor, size, at)

    def write(self, descriptor: int, content: memoryview, at: int) -> int:
        return os.pwrite(descriptor, content, at)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        if sys.platform == "darwin":
            try:
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync alone stops at the drive's cache there
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EINVAL):
                    raise
            else:
                return
        os.fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, path: Path, target: Path) -> None:
        path.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def close(self, descriptor: int) -> None:
        os.close(descriptor)


def write_all(system: System, descriptor: int, content: bytes, at: int) -> None:
    """Write *content* at an offset, however many writes that takes."""
    rest = memoryview(content)
    while rest:
        written = system.write(descriptor, rest, at)
        rest, at = rest[written:], at + written


class SpoolFile:
    """A locked file of records, its damage known and its pending records counted.

    Attributes:
        head, tail: Offsets between which records are pending.
        depth: Pending records.
        keys: Their (tenant, key) pairs.
        appendable: False for adopted files, and for ever after a failed sync: the kernel may have dropped the
            pages it could not write and report the next sync as a success.
    """

    def __init__(self, system: System, path: Path, descriptor: int) -> None:
        self.path = path
        self.head = self.tail = HEADER_SIZE
        self.depth = 0
        self.keys = PendingKeys()
        self.appendable = False
        self._system = system
        self._descriptor = descriptor
        self._damage: set[Damage] = set()
        self._kept_as: Path | None = None

    @classmethod
    def create(cls, system: System, path: Path) -> SpoolFile | None:
        """A new, empty file that survives a power cut; None where the name is taken.

        Raises:
            OSError: Nothing is left behind, as far as the system allows.
        """
        try:
            descriptor = system.create(path)
        except FileExistsError:
            return None
        file = cls(system, path, descriptor)
        try:
            if not _own(system, descriptor, path):  # adopted as an empty left-over before we could lock it
                file.close()
                return None
            write_all(system, descriptor, encode_header(), 0)
            system.sync_directory(path.parent)
        except BaseException:
            file.discard()
            raise
        file.appendable = True
        return file

    @classmethod
    def adopt(cls, system: System, path: Path) -> SpoolFile | None:
        """The file of a dead process, read through; None where it is alive, or the file gone or not ours to read.

        Cost: reads all of what is pending in it.
        """
        try:
            descriptor = system.open(path)
        except FileNotFoundError:
            return None
        file = cls(system, path, descriptor)
        try:
            if _own(system, descriptor, path) and file._read_header():
                file.load()
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    def is_in_place(self) -> bool:
        """Whether the path still leads to this file: what is appended to a deleted one dies with the process."""
        return _leads_to(self.path, self._descriptor)

    def append(self, content: bytes, events: Sequence[NewEvent]) -> None:
        """Add *content*, the records of *events*, durably: one write, one sync.

        Raises:
            SpoolError: Not accepted; the file ends where it ended before, if the system lets us cut it.
        """
        try:
            write_all(self._system, self._descriptor, content, self.tail)
            self.appendable = False
            self._system.sync(self._descriptor)
            self.appendable = True
        except OSError as error:
            self._cut_back()
            raise SpoolError(
                f"cannot write {len(content)} bytes to the spool file {self.path}: {error.strerror or error}; "
                f"{len(events)} events were not accepted: make room or repair the disk, then publish again "
                f"with the same event_id, which is safe"
            ) from error
        except BaseException:
            self._cut_back()
            raise
        self.tail += len(content)
        self._count(events)

    def records(self, limit: int, max_bytes: int) -> list[SpoolRecord]:
        """The oldest pending records, up to *limit*, and no more once they are *max_bytes* long.

        Raises:
            OSError: The file cannot be read.
        """
        found: list[SpoolRecord] = []
        stop = self.head + max_bytes
        for item in self._scan(self.head):
            if isinstance(item, SpoolRecord):
                found.append(item)
            elif item not in self._damage:  # it happened under our hands: count anew what is left
                self.load()
                return self.records(limit, max_bytes)
            if len(found) >= limit or item.end >= stop:
                break
        return found

    def load(self) -> None:
        """Count what is pending and set the damage aside. Nothing is appended to a damaged file any more."""
        self.depth, self.keys = 0, PendingKeys()
        for item in self._scan(self.head):
            if isinstance(item, SpoolRecord):
                self._count([item.event])
            elif item not in self._damage:
                self.appendable = False
                self._damage.add(item)
                self._set_aside(item)

    def advance(self, records: Sequence[SpoolRecord]) -> None:
        """Move the head behind *records*, the oldest ones. An exhausted file is the caller's to `discard`.

        Never fails: where the head cannot be kept durably, that is logged, and a restart sends them again.
        """
        self.head = records[-1].end
        self.depth -= len(records)
        self.keys.remove(record.event for record in records)
        if self.depth:
            self._save_head()

    def discard(self) -> None:
        """Delete and close the file; keep it under another name if its damage could not be copied."""
        try:
            if not self.is_in_place():
                _log.error("the spool file %s was deleted by somebody else", self.path)
            elif self._kept_as is None:
                self._system.unlink(self.path)
            else:
                self._system.rename(self.path, self._kept_as)
            self._system.sync_directory(self.path.parent)
        except OSError as error:
            _log.error("cannot delete the spool file %s (%s); a restart may send its events again", self.path, error)
            if self._kept_as is None:
                self._save_head()
        finally:
            self.close()

    def close(self) -> None:
        """Give the lock back; in a forked child, only the child's share in it."""
        self._system.close(self._descriptor)

    def _count(self, events: Sequence[NewEvent]) -> None:
        self.depth += len(events)
        self.keys.add(events)

    def _cut_back(self) -> None:
        try:
            self._system.truncate(self._descriptor, self.tail)
        except OSError as error:
            self.appendable = False
            _log.error("cannot cut the spool file %s back to %d bytes (%s)", self.path, self.tail, error)

    def _save_head(self) -> None:
        try:
            write_all(self._system, self._descriptor, encode_head(self.head), PREFIX_SIZE)
            self._system.sync(self._descriptor)
        except OSError as error:
            self.appendable = False
            _log.error("cannot note in %s what the store has (%s); a restart may send it again", self.path, error)

    def _read_header(self) -> bool:
        """Find head and tail; False if a later release wrote the file. A damaged header costs no record."""
        header = self._system.read(self._descriptor, HEADER_SIZE, 0)
        self.tail = max(HEADER_SIZE, os.fstat(self._descriptor).st_size)
        self.head = decode_head(header)
        prefix = header[:PREFIX_SIZE]
        if is_intact(prefix) and prefix != PREFIX:
            _log.error("the spool file %s has a format of another release and is left alone", self.path)
            return False
        if prefix != PREFIX and self.tail > HEADER_SIZE:
            _log.error("the header of the spool file %s is damaged; its records are read all the same", self.path)
        return True

    def _scan(self, at: int) -> Iterator[SpoolRecord | Damage]:
        window = _Window(lambda size, at: self._system.read(self._descriptor, size, at))
        while at < self.tail:
            item = self._record_at(window, at) or Damage(at, self._next_record(window, at + 1))
            yield item
            at = item.end

    def _record_at(self, window: _Window, at: int) -> SpoolRecord | None:
        frame = window.get(FRAME_SIZE, at)
        length = body_length(frame)
        if length is None or at + FRAME_SIZE + length > self.tail:
            return None
        event = decode(frame, window.get(length, at + FRAME_SIZE))
        return None if event is None else SpoolRecord(event, self.path.name, at, at + FRAME_SIZE + length)

    def _next_record(self, window: _Window, at: int) -> int:
        """Offset of the first intact record from *at* on, or of the end."""
        rest = self._system.read(self._descriptor, self.tail - at, at)
        found = rest.find(MARKER)
        while found >= 0:
            if self._record_at(window, at + found) is not None:
                return at + found
            found = rest.find(MARKER, found + 1)
        return self.tail

    def _set_aside(self, damage: Damage) -> None:
        content = self._system.read(self._descriptor, damage.end - damage.start, damage.start)
        # The same damage has the same name, so that a restart writes the same file again and not another one.
        path = self.path.with_name(f"corrupt-{self.path.stem}-{damage.start}-{zlib.crc32(content):08x}.bin")
        what = (
            "an incomplete or damaged end, most likely of a write that was never acknowledged"
            if damage.end == self.tail
            else "damaged records"
        )
        where = (damage.end - damage.start, damage.start, self.path)
        try:
            descriptor = self._system.open_or_create(path)
            try:
                write_all(self._system, descriptor, content, 0)
                self._system.sync(descriptor)
            finally:
                self._system.close(descriptor)
            self._system.sync_directory(path.parent)
            _log.error("%d bytes at offset %d of the spool file %s are %s: copied to %s", *where, what, path)
        except OSError as error:
            self._kept_as = path
            _log.error(
                "%d bytes at offset %d of the spool file %s are %s: they cannot be copied (%s) and stay there, "
                "as %s once the other records are in the store",
                *where, what, error, path,
            )  # fmt: skip


class _Window:
    """Reads ahead, so that a record costs no system call."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._content = b""
        self._at = 0

    def get(self, size: int, at: int) -> bytes:
        offset = at - self._at
        if offset < 0 or offset + size > len(self._content):
            self._content, self._at, offset = self._read(max(size, _WINDOW), at), at, 0
        return self._content[offset : offset + size]


def _own(system: System, descriptor: int, path: Path) -> bool:
    """Lock the file; False if another has it, or deleted it between our open and our lock."""
    return system.lock(descriptor) and _leads_to(path, descriptor)


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
