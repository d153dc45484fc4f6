"""The spool: a bounded, durable, local queue of events that the store cannot take now.

The bus decides when to spool and when to drain; this is the file layer below it. It is synchronous, knows no store,
and is not locked against threads: one call at a time. Damage: `holdfast.spool_file`; bytes: `holdfast.spool_format`.

A directory serves any number of processes, and any number of spools in one process: each writes files of its own and
holds their locks. Files that nobody holds are left-overs of dead processes; whoever opens the directory next adopts
them. Names count up, so their order is the order of their making, and a file is deleted once it is empty: a process
whose store was never away leaves nothing behind.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import weakref
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import msgspec

from holdfast.errors import BusStateError, ConfigurationError, SpoolError, SpoolFull
from holdfast.spool_file import SpoolFile, System, write_all
from holdfast.spool_format import DEFAULT_LIMIT, PEEK_BYTES, SpoolRecord, encode, without_first
from holdfast.spool_memory import MemorySpool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from holdfast.event import NewEvent

__all__ = ["AnySpool", "MemorySpool", "Spool", "SpoolRecord", "default_directory", "directory_name"]

_SEGMENTS = 16
_NAME = re.compile(r"([0-9]{8,})\.spool")
_log = logging.getLogger("holdfast.spool")


def default_directory(store_id: str, environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_STATE_HOME/holdfast/<directory name>``, by default below ``~/.local/state``.

    Raises:
        ConfigurationError: There is no home directory.
    """
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the XDG specification: a relative one is to be ignored
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError as error:
            raise ConfigurationError(
                "there is no home directory for the spool: set XDG_STATE_HOME, or give EventBus(spool=...) a path"
            ) from error
    return state / "holdfast" / directory_name(store_id)


def directory_name(store_id: str) -> str:
    """The id where it is a plain lower-case file name; others are shortened and get a hash: no two stores share one."""
    name = re.sub(r"[^a-z0-9_-]", "_", store_id)[:64]
    if name == store_id and name:
        return name
    return f"{name}-{hashlib.sha256(store_id.encode()).hexdigest()[:16]}"


class Spool:
    """A durable queue in the files of one directory.

    Args:
        directory: Made with mode 0700 where it is missing. One store only: records do not say where they belong.
        limit: Bytes that this spool's files, adopted ones included, may take on the disk.
        system: The operating system; for tests.

    Attributes:
        where: What `Published.where` shall say.
        oldest_at: ``occurred_at`` of the oldest pending record as of the last `peek`, never too late; None if empty.

    `depth`, `size`, `oldest_at` and `pending` only look at memory. Memory: a few hundred bytes per pending key.
    """

    where: ClassVar[Literal["spool"]] = "spool"

    def __init__(self, directory: Path, *, limit: int = DEFAULT_LIMIT, system: System | None = None) -> None:
        self.directory = directory
        self.limit = limit
        self.oldest_at: datetime | None = None
        self._system = system or System()
        self._process: int | None = None
        self._files: list[SpoolFile] = []
        self._peeked: list[SpoolRecord] = []

    def open(self) -> None:
        """Make the directory and adopt what dead processes have left there.

        Raises:
            SpoolError: The directory cannot be made, read or written to.
            BusStateError: It is open.

        Cost: reads all that is adopted, about 6 µs a record.
        """
        if self._process is not None:
            raise BusStateError(f"the spool in {self.directory} is open already")
        try:
            self._make_directory()
            if not os.access(self.directory, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise self._unusable(error) from error
        self._process = self._system.process_id()
        _open_spools.add(self)
        try:
            self.adopt()
        except SpoolError:
            self.close()
            raise

    def adopt(self) -> int:
        """Take over files whose process has died, oldest first, in front of what is pending here; how many.

        Also worth a call now and then: what a crashed neighbour has spooled need not wait for a restart.

        Raises:
            SpoolError: The directory cannot be read.
            BusStateError: Not open, or opened before a fork.
        """
        self._check_process()
        mine = {file.path.name for file in self._files}
        try:
            others = [name for _, name in sorted(self._numbered_names()) if name not in mine]
            adopted = [file for name in others if (file := self._adopt_file(self.directory / name))]
            self._files = adopted + self._files
            if adopted:
                depth = sum(file.depth for file in adopted)
                _log.warning("adopted %d spooled events in %d files of %s", depth, len(adopted), self.directory)
                self.oldest_at = next((record.event.occurred_at for record in self._read(1, PEEK_BYTES)), None)
        except OSError as error:
            raise self._unusable(error) from error
        return len(adopted)

    def append(self, events: Sequence[NewEvent]) -> None:
        """Accept *events*, in this order: durable when this returns.

        All are accepted, or none; only if the process dies in the middle of the write may the first few, which nobody
        has acknowledged, be found afterwards.

        Raises:
            SpoolFull: Over the limit; nothing was written.
            SpoolError: The disk is full or failing, or the directory is not writable; not accepted.
            BusStateError: Not open, or opened before a fork.

        Cost: one write and one sync, whatever the number of events; the first one makes a file (one more sync).
        """
        self._check_process()
        if not events:
            return
        content = b"".join(map(encode, events))
        if self.size + len(content) > self.limit:
            raise SpoolFull(str(self.directory), self.size, self.limit)
        try:
            self._appendable_file().append(content, events)
        finally:
            self._drop_empty()  # or each attempt on a failing disk would leave a file
        self.oldest_at = self.oldest_at or events[0].occurred_at

    def peek(self, limit: int, *, max_bytes: int = PEEK_BYTES) -> list[SpoolRecord]:
        """The oldest pending records: up to *limit*, fewer if they take *max_bytes*, at least one if there is one.

        Raises:
            SpoolError: A file cannot be read.
            BusStateError: Not open, or opened before a fork.
        """
        self._check_process()
        try:
            self._peeked = self._read(limit, max_bytes)
        except OSError as error:
            raise SpoolError(f"cannot read the spool in {self.directory}: {error.strerror or error}") from error
        self._drop_empty()
        self._note_oldest()
        return list(self._peeked)

    def remove(self, records: Sequence[SpoolRecord]) -> None:
        """Forget *records*, which the store has: the first ones of what the last `peek` returned.

        A crash before this is through sends them again. Files that are empty now are deleted. A disk that refuses
        is logged and not raised: what is removed is removed for this process.

        Raises:
            ValueError: Not the first ones; removing them would lose those before them. Nothing was removed.
            BusStateError: Not open, or opened before a fork.

        Cost: one small write and one sync per file touched.
        """
        self._check_process()
        self._peeked = without_first(self._peeked, records)
        files = {file.path.name: file for file in self._files}
        for name, group in groupby(records, key=lambda record: record.file):
            files[name].advance(list(group))
        self._drop_empty()
        self._note_oldest()

    def quarantine(self, record: SpoolRecord, reason: str) -> None:
        """Move *record*, the first one of the last `peek`, to ``quarantine.jsonl``: the store will never take it.

        Raises:
            SpoolError: It could not be written there; the record stays where it is.
            ValueError: Not the first one; nothing was done.
            BusStateError: Not open, or opened before a fork.
        """
        self._check_process()
        without_first(self._peeked, [record])
        path = self.directory / "quarantine.jsonl"
        line = msgspec.json.encode(_quarantine_line(record.event, reason, self._system.now())) + b"\n"
        try:
            self._append_line(path, line)
        except OSError as error:
            raise SpoolError(f"cannot write to {path}: {error.strerror or error}; make room or repair it") from error
        _log.error("the store refuses spooled event %s (%s): moved to %s", record.event.id, reason, path)
        self.remove([record])

    def pending(self, tenant_id: str, key: str) -> bool:
        """Whether an event of this key waits here."""
        return any((tenant_id, key) in file.keys for file in self._files)

    @property
    def depth(self) -> int:
        """Pending records."""
        return sum(file.depth for file in self._files)

    @property
    def size(self) -> int:
        """Bytes on the disk; space comes back file by file, 1/16 of the limit each."""
        return sum(file.tail for file in self._files)

    def close(self) -> None:
        """Give up the files; what is pending waits on the disk for the next `open`, here or elsewhere."""
        if self._process == self._system.process_id():
            self._drop_empty()
        self.let_go()
        self._peeked, self.oldest_at, self._process = [], None, None
        _open_spools.discard(self)

    def held_by_others(self) -> int:
        """How many files of this folder belong to other processes that live.

        Raises:
            BusStateError: Not open, or opened before a fork.
        """
        self._check_process()
        mine = {file.path.name for file in self._files}
        return sum(name not in mine for _, name in self._numbered_names())

    def let_go(self) -> None:
        """Close the files and touch nothing else, as a forked child must (it does so by itself)."""
        for file in self._files:
            file.close()
        self._files = []

    def _check_process(self) -> None:
        if self._process is None:
            raise BusStateError(f"the spool in {self.directory} is not open: call open() first")
        process = self._system.process_id()
        if self._process != process:
            raise BusStateError(
                f"the spool in {self.directory} was opened by process {self._process} and is used in its fork "
                f"{process}: make a new one after the fork"
            )

    def _unusable(self, error: OSError) -> SpoolError:
        return SpoolError(
            f"cannot use {self.directory} as the spool: {error.strerror or error}; "
            f"give EventBus(spool=...) a directory that this process may write to, or 'off'"
        )

    def _make_directory(self) -> None:
        missing = [level for level in (self.directory, *self.directory.parents) if not level.exists()]
        for level in reversed(missing):
            self._system.make_directory(level)
            self._system.sync_directory(level.parent)

    def _numbered_names(self) -> list[tuple[int, str]]:
        return _numbered(path.name for path in self.directory.iterdir())

    def _adopt_file(self, path: Path) -> SpoolFile | None:
        try:
            file = SpoolFile.adopt(self._system, path)
        except OSError as error:
            _log.error("cannot adopt the spool file %s (%s); its events wait there", path, error)
            return None
        if file is not None and not file.depth:
            file.discard()
            return None
        return file

    def _appendable_file(self) -> SpoolFile:
        last = self._files[-1] if self._files else None
        if last is not None and last.appendable and last.tail < self.limit // _SEGMENTS and last.is_in_place():
            return last
        try:
            file = self._create_file()
        except OSError as error:
            raise SpoolError(
                f"cannot make a spool file in {self.directory}: {error.strerror or error}; the event was not accepted"
            ) from error
        self._files = [*self._files, file]
        return file

    def _create_file(self) -> SpoolFile:
        while True:  # until no other process is faster
            taken = [*self._numbered_names(), *_numbered(file.path.name for file in self._files)]
            number = max((number for number, _ in taken), default=0) + 1
            file = SpoolFile.create(self._system, self.directory / f"{number:08d}.spool")
            if file is not None:
                return file

    def _read(self, limit: int, max_bytes: int) -> list[SpoolRecord]:
        found: list[SpoolRecord] = []
        for file in self._files:
            if limit <= len(found) or max_bytes <= 0:
                break
            records = file.records(limit - len(found), max_bytes)
            max_bytes -= sum(record.end - record.start for record in records)
            found += records
        return found

    def _note_oldest(self) -> None:
        if not self._files:
            self.oldest_at = None
        elif self._peeked:
            self.oldest_at = self._peeked[0].event.occurred_at

    def _drop_empty(self) -> None:
        """Delete files in which nothing is pending."""
        for file in self._files:
            if not file.depth:
                file.discard()
        self._files = [file for file in self._files if file.depth]

    def _append_line(self, path: Path, line: bytes) -> None:
        """Add one line durably; processes take turns, and one that died in mid-line spoils only that line."""
        descriptor = self._system.open_or_create(path)
        try:
            self._system.lock(descriptor, wait=True)
            size = os.fstat(descriptor).st_size
            torn = size > 0 and self._system.read(descriptor, 1, size - 1) != b"\n"
            try:
                write_all(self._system, descriptor, b"\n" + line if torn else line, size)
                self._system.sync(descriptor)
            except OSError:
                self._system.truncate(descriptor, size)
                raise
            self._system.sync_directory(path.parent)
        finally:
            self._system.close(descriptor)


AnySpool: TypeAlias = Spool | MemorySpool


def _numbered(names: Iterable[str]) -> list[tuple[int, str]]:
    return [(int(match[1]), match[0]) for match in map(_NAME.fullmatch, names) if match]


def _quarantine_line(event: NewEvent, reason: str, now: datetime) -> dict[str, Any]:
    return {
        "id": event.id,
        "tenant_id": event.tenant_id,
        "name": event.name,
        "key": event.key,
        "payload": event.payload.decode(errors="backslashreplace"),
        "headers": None if event.headers is None else event.headers.decode(errors="backslashreplace"),
        "occurred_at": event.occurred_at,
        "reason": reason,
        "time": now,
    }


_open_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _leave_to_parent() -> None:
    # A child that keeps the inherited descriptors would hold the locks beyond its parent's death, and no one
    # could adopt the files. Closing them here does not take them from the parent.
    for spool in list(_open_spools):
        spool.let_go()


os.register_at_fork(after_in_child=_leave_to_parent)
