"""Verifying: the chains by themselves and against anchors, then the log against what the chains say of each event."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.sealing.chain import ENTRY_BYTES, GENESIS, LoggedEvent, Segment, differences, head_of
from holdfast.sealing.comparing import ALL_DAYS, Kept, Span, pairs
from holdfast.sealing.erasing import EXPLAINED, Erasures
from holdfast.sealing.findings import Finding, Kind, Summary
from holdfast.sealing.rows import FIRST_DAY, as_day
from holdfast.sealing.sealer import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from datetime import date

    from holdfast.sealing.anchors import Anchor
    from holdfast.stores.inspecting import Inspecting

_LINKS = 8
_TOGETHER = 1_000
"""Events without a seal, or seals without an event, that are looked at again together."""


class Verifier:
    """
    One verification of a store's log. Reads only; workers, publishers, sealers and retention may go on.

    Args:
        inspector: Of the store.
        day: Only this UTC day; None: all.
        anchors: Of this store, in any order.

    Attributes:
        summary: How much was looked at so far.
    """

    def __init__(self, inspector: Inspecting, *, day: date | None = None, anchors: Iterable[Anchor] = ()) -> None:
        self._inspector = inspector
        self._span = ALL_DAYS if day is None else Span(day.isoformat(), day.isoformat())
        self._anchors: dict[tuple[date, int], list[Anchor]] = {}
        for anchor in anchors:
            if day in {None, anchor.day}:
                self._anchors.setdefault((anchor.day, anchor.segments), []).append(anchor)
        self._dropped_days: set[date] = set()
        self._dropped_position = 0
        self._segments: dict[date, int] = {}
        self.summary = Summary()

    async def findings(self) -> AsyncIterator[Finding]:
        """
        Whatever is not as it was sealed, as it is found: first about seals, then about events, nearly in their order.

        Raises:
            StoreUnavailable, PermissionDenied: As the inspector does.

        Cost: reads the seals twice and the log once, in pages; holds some thousand events at a time.
        """
        place = Place._make((await self._inspector.rows("sealing"))[0])
        days = await self._look_at_days()
        self._segments = {day: segments for day, (segments, _) in days.items()}
        self.summary.days = len(self._segments)
        async for finding in self._chains(days):
            yield self._counted(finding)
        erasures = Erasures(await self._inspector.rows("erasures"))
        missing: list[Kept] = []
        unsealed: list[LoggedEvent] = []
        async for kept, event in pairs(self._inspector, self._segments, self._span):
            match kept, event:
                case Kept(), None:
                    missing.append(kept)
                case None, LoggedEvent():
                    unsealed.append(event)
                case Kept(), LoggedEvent():
                    changed = judged(kept, event, erasures)
                    if changed is None:
                        self.summary.sealed += 1
                    else:
                        yield self._counted(changed)
            if len(missing) + len(unsealed) >= _TOGETHER:
                async for finding in self._look_again(place, missing, unsealed):
                    yield finding
                missing, unsealed = [], []
        async for finding in self._look_again(place, missing, unsealed):
            yield finding

    async def _look_at_days(self) -> dict[date, tuple[int, bytes]]:
        """Number of links and head of each day in the span; and what retention has dropped by now."""
        days = {}
        for number, segments, _, head, _, dropped_at in await self._inspector.rows("seal_days"):
            day = as_day(number)
            if self._span.first_day <= day.isoformat() <= self._span.last_day:
                days[day] = segments, head
                if dropped_at is not None:
                    self._dropped_days.add(day)
        self._dropped_position = Place._make((await self._inspector.rows("sealing"))[0]).dropped
        return days

    def _is_dropped(self, day: date, position: int) -> bool:
        return day in self._dropped_days or position <= self._dropped_position

    # The chains

    async def _chains(self, days: dict[date, tuple[int, bytes]]) -> AsyncIterator[Finding]:
        """Each link by itself, each with the one before, the last one with what is said of the day, and all anchors."""
        ends: dict[date, tuple[int, bytes]] = {}
        async for segment, entries in self._links():
            self.summary.segments += 1
            number, head = ends.get(segment.day, (0, GENESIS))
            problem = self._problem(segment, entries, number, head)
            if problem is not None:
                yield Finding(Kind.SEAL, segment.day, note=problem)
            # Each link is judged by what the one before says of itself: one that was edited is named once.
            ends[segment.day] = segment.number, segment.head
            for anchor in self._anchors.pop((segment.day, segment.number), []):
                self.summary.anchors += 1
                if anchor.head != segment.head:
                    yield Finding(
                        Kind.ANCHOR, segment.day, note=f"{anchor} has another head than link {segment.number} now"
                    )
        for day, end in days.items():
            if ends.get(day, (0, GENESIS)) != end:
                note = f"the chain ends with link {ends.get(day, (0,))[0]}, and not as the day's record says, with {end[0]}"
                yield Finding(Kind.SEAL, day, note=note)
        for (day, number), anchors in sorted(self._anchors.items()):
            self.summary.anchors += len(anchors)
            for anchor in anchors:
                yield Finding(Kind.ANCHOR, day, note=f"{anchor} is of link {number}, which is not there")

    async def _links(self) -> AsyncIterator[tuple[Segment, bytes | None]]:
        place = FIRST_DAY, 0
        while True:
            rows = await self._inspector.rows(
                "seal_segments", **self._span._asdict(), after_day=place[0], after=place[1], limit=_LINKS
            )
            for day, *columns, entries in rows:
                segment = Segment(as_day(day), *columns)
                place = segment.day.isoformat(), segment.number
                if segment.number <= self._segments.get(segment.day, 0):
                    yield segment, entries
            if len(rows) < _LINKS:
                return

    def _problem(self, segment: Segment, entries: bytes | None, number: int, head: bytes) -> str | None:
        """What is the matter with a link that follows another one with that number and head."""
        if segment.number != number + 1:
            return f"links {number + 1} to {segment.number - 1} are missing"
        if head_of(head, *segment[:-1]) != segment.head:
            return f"link {segment.number} does not follow from the one before: one of the two was edited"
        if entries is None:
            if self._is_dropped(segment.day, segment.last):
                return None
            return f"link {segment.number} has lost its entries, and retention has not dropped its events"
        if sha256(entries).digest() != segment.digest or len(entries) != segment.events * ENTRY_BYTES:
            return f"the entries of link {segment.number} were edited"
        return None

    # The log

    async def _look_again(
        self, place: Place, missing: list[Kept], unsealed: list[LoggedEvent]
    ) -> AsyncIterator[Finding]:
        """What is gone may just have been dropped by retention, what has no seal may not have been sealed yet."""
        if missing:
            await self._look_at_days()
        for entry, day in missing:
            if self._is_dropped(day, entry.position):
                self.summary.dropped += 1
            else:
                yield self._counted(Finding(Kind.REMOVED, day, entry.position, UUID(bytes=entry.id)))
        past = await self._past(place, unsealed)
        for event in unsealed:
            if (event.position, event.id) in past:
                yield self._counted(Finding(Kind.INSERTED, event.day, event.position, UUID(bytes=event.id)))
            else:
                self.summary.unsealed += 1

    def _counted(self, finding: Finding) -> Finding:
        self.summary.found[finding.kind] = self.summary.found.get(finding.kind, 0) + 1
        return finding

    async def _past(self, place: Place, events: list[LoggedEvent]) -> set[tuple[int, bytes]]:
        """Those of *events* that the seals have passed; after a restore nobody can tell until the log is sealed again."""
        if not events or place.recount:
            return set()
        positions = [event.position for event in events]
        rows = await self._inspector.rows(
            "sealed_past", positions=positions, done=place.done, open=place.open, position=place.position,
            highest=place.highest,
        )  # fmt: skip
        past = {(row[0], row[1]) for row in rows}
        return {(event.position, event.id) for event in events if not past.isdisjoint(names_of(event))}


def names_of(event: LoggedEvent) -> Iterator[tuple[int, Any]]:
    """Position and id as PostgreSQL and as SQLite give them."""
    yield event.position, event.id
    yield event.position, str(UUID(bytes=event.id))


def judged(kept: Kept, event: LoggedEvent, erasures: Erasures) -> Finding | None:
    """What is the matter with an event that has its entry."""
    entry, day = kept
    parts = differences(entry, event, day)
    if not parts:
        return None
    event_id = UUID(bytes=entry.id)
    if EXPLAINED.issuperset(parts) and (erasure := erasures.of(event)) is not None:
        note = f"erased by {erasure.actor} at {erasure.at:%Y-%m-%d %H:%M:%SZ}"
        return Finding(Kind.ERASED, day, entry.position, event_id, parts, note)
    note = f"its id is {UUID(bytes=event.id)} now" if "id" in parts else ""
    return Finding(Kind.EDITED, day, entry.position, event_id, parts, note)
