"""What a verification finds, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date  # noqa: TC003 - msgspec looks at the types when it encodes
from enum import StrEnum
from uuid import UUID  # noqa: TC003


class Kind(StrEnum):
    """What is the matter with an event, or with the seals."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    ERASED = "erased"
    SEAL = "seal"
    ANCHOR = "anchor"


@dataclass(frozen=True)
class Finding:
    """
    One thing that is not as it was sealed; of kind ``ERASED`` one that the audit explains.

    Attributes:
        kind: See `Kind`.
        day: UTC day that the event was sealed for; None where it never was and its store has no days.
        position: Of the event; None for a finding about seals.
        event_id: Of the event as it was sealed; of an inserted one, its own.
        parts: What differs: ``id``, ``tenant, name, key or time``, ``day``, ``headers``, ``payload``.
        note: The rest, for people.
    """

    kind: Kind
    day: date | None
    position: int | None = None
    event_id: UUID | None = None
    parts: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        day = f"day {self.day}" if self.day else "no sealed day"
        if self.position is None:
            return f"{self.kind}: {day}: {self.note}"
        verb = "differs" if len(self.parts) == 1 and "," not in self.parts[0] else "differ"
        parts = f", {' and '.join(self.parts)} {verb} from what was sealed" if self.parts else ""
        note = f", {self.note}" if self.note else ""
        return f"{self.kind}: event {self.event_id}, position {self.position}, {day}{parts}{note}"


@dataclass
class Summary:
    """How much was looked at. ``found`` counts findings by kind; ``sealed`` the events that are as they were sealed."""

    days: int = 0
    segments: int = 0
    sealed: int = 0
    unsealed: int = 0
    dropped: int = 0
    anchors: int = 0
    found: dict[Kind, int] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Nothing was found that the audit does not explain."""
        return all(kind is Kind.ERASED for kind in self.found)
