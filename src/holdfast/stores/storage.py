"""What a store takes up, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import date, datetime


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


@dataclass(frozen=True, slots=True)
class Seals:
    """
    How far the log is sealed against tampering.

    Attributes:
        days: With a chain of seals; none where nobody has run ``holdfast seal``.
        events: Sealed, those that retention has dropped since among them.
        sealed_at: When the last seal was made.
        until: `occurred_at` of the last event that is sealed; None where it is gone.
        behind: About how many events have come since.
        verified_at: When the log was last compared with its seals, by somebody who may write the audit.
        sound: What that found: whether nothing was changed.
    """

    days: int
    events: int
    sealed_at: datetime | None
    until: datetime | None
    behind: int
    verified_at: datetime | None
    sound: bool | None


class RetentionRule(NamedTuple):
    """How long events are kept: ``seconds``, None for ever; ``warning`` seconds before it laggards are named."""

    seconds: float | None
    warning: float


def by_default(seconds: float | None) -> RetentionRule:
    """The rule where nobody says when to warn: a tenth of the time before."""
    return RetentionRule(seconds, (seconds or 0.0) / 10)


@dataclass(frozen=True, slots=True)
class Retention:
    """What retention would drop now.

    Attributes:
        kept: Older events that a subscription in `blocking` still needs.
        with_their_day: Older events that wait until their whole day is old: PostgreSQL drops days, of UTC.
    """

    droppable: int
    kept: int
    blocking: tuple[str, ...]
    with_their_day: int = 0
