"""The spool of ``spool="memory"``: same interface as `holdfast.spool.Spool`, nothing durable."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Literal

from holdfast.errors import SpoolFull
from holdfast.spool_format import DEFAULT_LIMIT, PEEK_BYTES, PendingKeys, SpoolRecord, encode, without_first

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.event import NewEvent

_log = logging.getLogger("holdfast.spool")


class MemorySpool:
    """The same interface with nothing behind it: what is in here dies with the process (``spool="memory"``)."""

    where: ClassVar[Literal["memory"]] = "memory"

    def __init__(self, *, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self._records: deque[SpoolRecord] = deque()
        self._keys = PendingKeys()

    def open(self) -> None:
        """Nothing to open."""

    def adopt(self) -> int:
        """Nobody leaves anything behind in memory: 0."""
        return 0

    def append(self, events: Sequence[NewEvent]) -> None:
        """Accept *events*, not durably.

        Raises:
            SpoolFull: Over the limit; none was taken.
        """
        sizes = [len(encode(event)) for event in events]
        if self.size + sum(sizes) > self.limit:
            raise SpoolFull("in memory", self.size, self.limit)
        self._records.extend(SpoolRecord(event, "", 0, size) for event, size in zip(events, sizes, strict=True))
        self._keys.add(events)
        self.size += sum(sizes)

    def peek(self, limit: int, *, max_bytes: int = PEEK_BYTES) -> list[SpoolRecord]:
        """As `Spool.peek`."""
        found: list[SpoolRecord] = []
        for record in self._records:
            if len(found) >= limit or max_bytes <= 0:
                break
            found.append(record)
            max_bytes -= record.end
        return found

    def remove(self, records: Sequence[SpoolRecord]) -> None:
        """As `Spool.remove`."""
        without_first(self.peek(len(records), max_bytes=self.limit), records)
        for record in records:
            self._records.popleft()
            self.size -= record.end
        self._keys.remove(record.event for record in records)

    def quarantine(self, record: SpoolRecord, reason: str) -> None:
        """Drop *record*, loudly: memory has no place to keep it."""
        self.remove([record])
        _log.error("the store refuses event %s of the memory spool (%s): it is lost", record.event.id, reason)

    def pending(self, tenant_id: str, key: str) -> bool:
        """As `Spool.pending`."""
        return (tenant_id, key) in self._keys

    @property
    def depth(self) -> int:
        """Pending records."""
        return len(self._records)

    @property
    def oldest_at(self) -> datetime | None:
        """``occurred_at`` of the oldest pending record."""
        return self._records[0].event.occurred_at if self._records else None

    def close(self) -> None:
        """Drop what is pending; the number of lost events is logged."""
        if self._records:
            _log.error("%d events of the memory spool are lost", len(self._records))
        self._records.clear()
        self._keys, self.size = PendingKeys(), 0
