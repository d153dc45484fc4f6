"""The archive: a folder of events that subscriptions let go of unhandled, one JSON object a line."""

from __future__ import annotations

import os
from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import msgspec

from holdfast.errors import InvalidInput
from holdfast.event import from_micros
from holdfast.spool_file import System

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from holdfast.event import Row

_FOLDER_BYTES_MAX = 200
_BEGINNING = b'{"subscription":"'


class Archived(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One line of an archive. ``payload`` and ``headers`` are JSON as they were stored: of an encrypted payload, the
    ciphertext.
    """

    subscription: str
    id: UUID
    name: str
    tenant_id: str
    position: int
    occurred_at: str
    payload: msgspec.Raw
    key: str | None = None
    headers: msgspec.Raw | None = None


class Archive:
    """
    Keeps events in ``<folder>/<subscription>/<day>.jsonl``, by the day (UTC) on which they occurred.

    Several processes may write into one folder. Whoever is killed leaves half a line at most, and what it had begun is
    written again: an event may stand there twice.

    Args:
        folder: Made at the first use; it and its files are for its owner only.
        system: Brings files to the disk.
    """

    def __init__(self, folder: Path, system: System | None = None) -> None:
        self.folder, self._system = folder, system or System()

    def add(self, subscription: str, rows: Sequence[Row]) -> None:
        """
        Write *rows*, and return when the disk has them.

        Raises:
            OSError: Some of them may be there, others not.
        """
        days: dict[str, list[bytes]] = defaultdict(list)
        for row in rows:
            days[_time(row.occurred_at)[:10]].append(line_of(subscription, row))
        place = self.folder / folder_name(subscription)
        self._make(place)
        for day, lines in sorted(days.items()):
            self._append(place / f"{day}.jsonl", b"".join(lines))

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


def folder_name(subscription: str) -> str:
    """The subscription's name as a folder can have it; a long one ends in a digest of all of it."""
    name = quote(subscription, safe="")
    if name.startswith("."):  # hidden, or the folder above
        name = "%2E" + name[1:]
    if len(name) <= _FOLDER_BYTES_MAX:
        return name
    return f"{name[:_FOLDER_BYTES_MAX]}-{blake2b(subscription.encode(), digest_size=8).hexdigest()}"


def line_of(subscription: str, row: Row) -> bytes:
    archived = Archived(
        subscription, UUID(bytes=row.id), row.name, row.tenant_id, row.position, _time(row.occurred_at),
        _raw(row.payload), row.key, None if row.headers is None else _raw(row.headers),
    )  # fmt: skip
    return msgspec.json.encode(archived) + b"\n"


def _raw(text: bytes) -> msgspec.Raw:
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
    with path.open("rb") as lines:
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
        if not isinstance(error, msgspec.ValidationError) and _BEGINNING.startswith(text[: len(_BEGINNING)]):
            return None  # half of one
        raise InvalidInput(
            "archive", f"is none: {where}: {error}", "give a file that a worker archived into"
        ) from error


def as_parameters(found: Sequence[Archived]) -> list[dict[str, Any]]:
    """What the store is given to put events back: payload and headers as texts, so that they stay as written."""
    return [
        {
            "id": str(one.id), "name": one.name, "tenant_id": one.tenant_id, "key": one.key, "position": one.position,
            "occurred_at": one.occurred_at, "payload": bytes(one.payload).decode(),
            "headers": None if one.headers is None else bytes(one.headers).decode(),
        }
        for one in found
    ]  # fmt: skip
