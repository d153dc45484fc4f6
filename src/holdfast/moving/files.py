"""Events in files: lines of JSON, packed or not, and Parquet. Written whole or not at all."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol, TypeAlias
from uuid import UUID

from holdfast.archive import Archived, raw
from holdfast.errors import InvalidInput
from holdfast.spool_file import System

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.moving.rows import MovedEvent

Format: TypeAlias = Literal["jsonl", "parquet"]
STANDARD_OUTPUT = "-"


class Writer(Protocol):
    """Takes pages of events in their order."""

    def write(self, events: Sequence[MovedEvent]) -> None: ...

    def close(self) -> None:
        """End what the format wants ended; the stream stays open."""
        ...


class Lines:
    """One JSON object a line, as ``holdfast publish --jsonl`` takes it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, events: Sequence[MovedEvent]) -> None:
        self._stream.writelines([archived(one).line for one in events])

    def close(self) -> None:
        self._stream.flush()


class PackedLines(Lines):
    """The same through gzip. Without a time in it: the same events are the same bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._packed = gzip.GzipFile(fileobj=stream, mode="wb", filename="", mtime=0)
        super().__init__(self._packed)  # type: ignore[arg-type]

    def close(self) -> None:
        self._packed.close()


def archived(event: MovedEvent) -> Archived:
    return Archived(
        id=UUID(event.id), name=event.name, tenant_id=event.tenant_id, occurred_at=event.occurred_at,
        payload=raw(event.payload.encode()), key=event.key,
        headers=None if event.headers is None else raw(event.headers.encode()),
    )  # fmt: skip


def format_of(output: str) -> Format:
    """What a file's name says."""
    return "parquet" if output.endswith(".parquet") else "jsonl"


@contextmanager
def writing(output: str, kind: Format) -> Iterator[Writer]:
    """
    A writer to a new file, or to standard output. The file is there once all is on the disk; after an error it is not.

    Raises:
        InvalidInput: There is such a file.
        MissingExtra: Parquet is asked for, and pyarrow is not installed.
        OSError
    """
    if output == STANDARD_OUTPUT:
        writer = _writer(kind, sys.stdout.buffer)
        yield writer
        writer.close()
        return
    path = Path(output)
    if path.exists():
        raise InvalidInput("output", f"{output} is there already", "give another name, or remove it")
    number, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as stream:
            writer = _writer(kind, stream, packs=path.suffix == ".gz")
            yield writer
            writer.close()
            stream.flush()
            System().sync(stream.fileno())
        Path(draft).replace(path)
        System().sync_directory(path.parent)
    finally:
        Path(draft).unlink(missing_ok=True)


def _writer(kind: Format, stream: IO[bytes], *, packs: bool = False) -> Writer:
    if kind == "parquet":
        from holdfast.moving.parquet import Columns

        return Columns(stream)
    return PackedLines(stream) if packs else Lines(stream)


def read(path: Path) -> Iterator[Archived]:
    """
    The events of a file of ours, exported or archived, in their order, each id once.

    Raises:
        InvalidInput: It holds something else.
        MissingExtra: It is Parquet, and pyarrow is not installed.
        OSError
    """
    if format_of(path.name) == "parquet":
        from holdfast.moving import parquet

        return parquet.read(path)
    from holdfast import archive

    return archive.read(path)
