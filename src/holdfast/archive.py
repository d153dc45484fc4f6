"""
The archive: a folder of events that subscriptions let go of unhandled, and if asked of all that retention drops, one JSON
object a line.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from collections import defaultdict
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import msgspec

from holdfast.errors import InvalidInput
from holdfast.event import from_micros
from holdfast.spool_file import System

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.event import Row

_FOLDER_BYTES_MAX = 200
_BEGINNINGS = b'{"subscription":"', b'{"id":"'
_DROPPED = "@dropped"  # no subscription's folder: "@" is written otherwise there


class Archived(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    One line of an archive. ``payload`` and ``headers`` are JSON as they were stored: of an encrypted payload, the
    ciphertext. Without ``subscription`` nobody let go of it: it was dropped, or exported; the line is one that
    ``holdfast publish --jsonl`` takes.
    """

    subscription: str = ""
    id: UUID
    name: str
    tenant_id: str
    position: int = 0
    occurred_at: str
    payload: msgspec.Raw
    key: str | None = None
    headers: msgspec.Raw | None = None

    @property
    def line(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


class Archive:
    """
    Keeps events in ``<folder>/<subscription>/<day>.jsonl``, by the day (UTC) on which they occurred; those that retention
    drops in a folder ``@dropped``.

    Several processes may write into one folder. Whoever is killed leaves half a line at most, and what it had begun is
    written again: an event may stand there twice.

    Args:
        folder: Made at the first use; it and its files are for its owner only.
        system: Brings files to the disk.
        takes_dropped: Whether workers archive what retention drops, too.
    """

    def __init__(self, folder: Path, system: System | None = None, *, takes_dropped: bool = False) -> None:
        self.folder, self.takes_dropped, self._system = folder, takes_dropped, system or System()

    def add(self, subscription: str | None, rows: Sequence[Row]) -> None:
        """
        Write *rows*, and return when the disk has them.

        Args:
            subscription: Who let go of them; None: retention drops them.

        Raises:
            OSError: Some of them may be there, others not.
        """
        days: dict[str, list[bytes]] = defaultdict(list)
        for row in rows:
            days[_time(row.occurred_at)[:10]].append(line_of(subscription, row))
        place = self._place(subscription)
        for day, lines in sorted(days.items()):
            self._append(place / f"{day}.jsonl", b"".join(lines))

    def draft(self, title: str) -> Draft:
        """A file for what retention drops at once, such as a day of the log. *title*: of the file."""
        return Draft(self._place(None), title, self._system)

    def _place(self, subscription: str | None) -> Path:
        place = self.folder / (_DROPPED if subscription is None else folder_name(subscription))
        self._make(place)
        return place

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._system.sync_directory(folder.parent)

    def _append(self, path: Path, text: bytes) -> None:
        is_new = not path.exists()
        number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(number).st_size
            if size and os.pread(number, 1, size - 1) != b"\n":
                text = b"\n" + text  # whoever wrote here before was killed in the midst of a line
            rest = memoryview(text)
            while rest:
                rest = rest[os.write(number, rest) :]
            self._system.sync(number)
        finally:
            os.close(number)
        if is_new:  # its name is on the disk once its folder is
            self._system.sync_directory(path.parent)


class Draft:
    """
    A file that is there whole or not at all: pages are added, then it is kept, or undone. Of two that draft the same,
    both keep a file.
    """

    def __init__(self, folder: Path, title: str, system: System) -> None:
        self._folder, self._title, self._system = folder, title, system
        number, name = tempfile.mkstemp(prefix=f".{title}-", dir=folder)
        self._file, self._path = os.fdopen(number, "wb"), Path(name)
        self.events = 0

    def add(self, rows: Sequence[Row]) -> None:
        self._file.writelines([line_of(None, row) for row in rows])
        self.events += len(rows)

    def keep(self) -> Path:
        """Return when the disk has it under its name: ``<title>.jsonl``, or with a number where there is one already."""
        self._file.flush()
        self._system.sync(self._file.fileno())
        self._file.close()
        for name in (f"{self._title}{'' if number == 1 else f'.{number}'}.jsonl" for number in count(1)):
            with suppress(FileExistsError):
                os.link(self._path, self._folder / name)
                break
        self._path.unlink()
        self._path = self._folder / name
        self._system.sync_directory(self._folder)
        return self._path

    def undo(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def folder_name(subscription: str) -> str:
    """The subscription's name as a folder can have it; a long one ends in a digest of all of it."""
    name = quote(subscription, safe="")
    if name.startswith("."):  # hidden, or the folder above
        name = "%2E" + name[1:]
    if len(name) <= _FOLDER_BYTES_MAX:
        return name
    return f"{name[:_FOLDER_BYTES_MAX]}-{blake2b(subscription.encode(), digest_size=8).hexdigest()}"


def line_of(subscription: str | None, row: Row) -> bytes:
    return Archived(
        subscription=subscription or "", id=UUID(bytes=row.id), name=row.name, tenant_id=row.tenant_id,
        position=0 if subscription is None else row.position, occurred_at=_time(row.occurred_at),
        payload=raw(row.payload), key=row.key, headers=None if row.headers is None else raw(row.headers),
    ).line  # fmt: skip


def raw(text: bytes) -> msgspec.Raw:
    """JSON on one line: between its values there may be line breaks, within them there is none."""
    return msgspec.Raw(text.replace(b"\n", b" ").replace(b"\r", b" ") or b"null")


def _time(micros: int) -> str:
    return f"{from_micros(micros).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def read(path: Path) -> Iterator[Archived]:
    """
    The events of a file, in the order in which they were written, each id once.

    Half a line is passed over, where whatever wrote it was killed: the next line begins anew.

    Raises:
        InvalidInput: The file holds something else.
        OSError
    """
    decoder, seen = msgspec.json.Decoder(Archived), set[UUID]()
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            found = _decoded(decoder, line, f"{path}, line {number}")
            if found is not None and found.id not in seen:
                seen.add(found.id)
                yield found


def _decoded(decoder: msgspec.json.Decoder[Archived], line: bytes, where: str) -> Archived | None:
    text = line.strip()
    try:
        return decoder.decode(text) if text else None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if not isinstance(error, msgspec.ValidationError) and any(
            beginning.startswith(text[: len(beginning)]) for beginning in _BEGINNINGS
        ):
            return None  # half of one
        raise InvalidInput(
            "archive", f"is none: {where}: {error}", "give a file that a worker archived into, or of  holdfast export"
        ) from error


def as_parameters(found: Sequence[Archived]) -> list[dict[str, Any]]:
    """What the store is given to put events back: payload and headers as texts, so that they stay as written."""
    return [
        {
            "id": str(one.id), "name": one.name, "tenant_id": one.tenant_id, "key": one.key,
            "occurred_at": one.occurred_at, "payload": bytes(one.payload).decode(),
            "headers": None if one.headers is None else bytes(one.headers).decode(),
        }
        for one in found
    ]  # fmt: skip
