"""Events in Parquet: a column for each part of an event, a row group for each page. By pyarrow, imported here only."""

from __future__ import annotations

from datetime import datetime
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.archive import Archived
from holdfast.errors import InvalidInput, MissingExtra
from holdfast.moving.rows import time_of

try:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet
except ModuleNotFoundError as missing:
    raise MissingExtra(missing.name or "pyarrow", "parquet", "a Parquet file") from missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from holdfast.moving.rows import MovedEvent

_TEXT = pa.string()
SCHEMA = pa.schema(
    [
        pa.field("id", _TEXT, nullable=False),
        pa.field("name", _TEXT, nullable=False),
        pa.field("tenant_id", _TEXT, nullable=False),
        pa.field("key", _TEXT),
        pa.field("occurred_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("payload", _TEXT, nullable=False),
        pa.field("headers", _TEXT),
    ]
)
"""``payload`` and ``headers`` are JSON as it was stored."""
_ROWS = 1_000


class Columns:
    """Writes pages of events to a stream; see `holdfast.moving.files.Writer`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._writer = parquet.ParquetWriter(stream, SCHEMA, compression="zstd")

    def write(self, events: Sequence[MovedEvent]) -> None:
        columns = {name: [getattr(one, name) for one in events] for name in SCHEMA.names}
        columns["occurred_at"] = [datetime.fromisoformat(text) for text in columns["occurred_at"]]
        self._writer.write_table(pa.table(columns, schema=SCHEMA))

    def close(self) -> None:
        self._writer.close()


def read(path: Path) -> Iterator[Archived]:
    """
    The events of a file, a page in memory at a time, each id once.

    Raises:
        InvalidInput: The file is no Parquet, or has other columns.
        OSError
    """
    seen = set[UUID]()
    with path.open("rb") as stream:
        try:
            opened = parquet.ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise _wrong(path, str(error)) from error
        if not set(SCHEMA.names) <= set(opened.schema_arrow.names):
            raise _wrong(path, f"it has the columns {', '.join(opened.schema_arrow.names)}")
        for batch in opened.iter_batches(_ROWS, columns=SCHEMA.names):
            for row in batch.to_pylist():
                found = _archived(row, path)
                if found.id not in seen:
                    seen.add(found.id)
                    yield found


def _archived(row: dict[str, Any], path: Path) -> Archived:
    try:
        return Archived(
            id=UUID(row["id"]), name=row["name"], tenant_id=row["tenant_id"], key=row["key"],
            occurred_at=str(time_of(row["occurred_at"])), payload=msgspec.Raw(row["payload"].encode()),
            headers=None if row["headers"] is None else msgspec.Raw(row["headers"].encode()),
        )  # fmt: skip
    except (TypeError, ValueError, AttributeError) as error:
        raise _wrong(path, f"a row is no event: {error}") from error


def _wrong(path: Path, problem: str) -> InvalidInput:
    return InvalidInput("archive", f"is none: {path}: {problem}", "give a file of  holdfast export --format parquet")
