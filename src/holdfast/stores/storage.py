"""What a store takes up, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import date


@dataclass(frozen=True, slots=True)
class TableStorage:
    """
    A table, or one day's partition of it. What a store does not keep count of is None.

    Attributes:
        partition: Name of the partition; None for a table that has none.
        since: UTC day of its first events; None for the default partition too.
        until: The day after.
        rows: Estimated.
        dead_rows: Versions that vacuum has not removed yet.
        bytes: Without indexes.
    """

    table: str
    partition: str | None = None
    since: date | None = None
    until: date | None = None
    rows: int | None = None
    dead_rows: int | None = None
    bytes: int | None = None
    index_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class IndexStorage:
    """An index with all its parts. `scans`: how often it was used, since the statistics were last reset."""

    table: str
    name: str
    bytes: int | None
    scans: int | None
    valid: bool


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that is open for *seconds*. `application`: for a prepared one its name; `pid`: None then."""

    seconds: float
    owner: str | None
    application: str | None
    state: str | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class Storage:
    """
    What the store takes up.

    Attributes:
        bytes: All of it.
        reusable_bytes: Of an SQLite file: pages that are free to be used again.
        write_ahead_bytes: Of an SQLite file: its write-ahead log.
        disk_free_bytes: Of an SQLite file: what is left on its disk.
        oldest_transaction: Of the PostgreSQL server, as far as the role may see others' (``pg_read_all_stats``).
    """

    bytes: int
    tables: tuple[TableStorage, ...]
    indexes: tuple[IndexStorage, ...]
    reusable_bytes: int | None = None
    write_ahead_bytes: int | None = None
    disk_free_bytes: int | None = None
    oldest_transaction: OpenTransaction | None = None


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """
    An index that makes a search quick and each publish a little dearer.

    Attributes:
        state: missing, building, incomplete (a build was broken off: add it again) or ready.
        bytes: Size; None where it is not known.
    """

    name: str
    state: Literal["missing", "building", "incomplete", "ready"]
    bytes: int | None
