"""What is left of an event whose personal data was erased, how it is told from others, what an erasure did. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from holdfast.event import NewEvent

MASK = b'{"holdfast.erased":true}'
"""The payload of an erased event. Written nowhere else, so that it is known wherever a payload alone is seen."""

WORD = "erased"
"""What stands in place of an erased text."""

ERASED_AT, ERASED_BY = "erased_at", "erased_by"
_LINEAGE = ("correlation_id", "causation_id")


@dataclass(frozen=True, slots=True)
class Erasable:
    """What `Operator.erase` would mask: events of the log, and delivery rows with a reason, error or content; data keys."""

    events: int
    deliveries: int
    keys: int = 0


@dataclass(frozen=True, slots=True)
class Erased:
    """What `Operator.erase` has masked.

    Attributes:
        events: Of the log.
        deliveries: Rows with a reason, an error or the content of a dead letter whose event retention has dropped.
        attempts: Messages and tracebacks of failed attempts.
        spooled: Events that waited in the spool of this machine.
        quarantined: Events there that the store had refused.
        left: What was not covered, a sentence each.
        keys: Data keys that were dropped.
    """

    events: int
    deliveries: int
    attempts: int
    spooled: int
    quarantined: int
    left: tuple[str, ...]
    keys: int = 0


def masked_headers(headers: bytes | None, actor: str, at: str) -> bytes:
    """Headers of an erased event: who erased it and when, and its lineage; anything else may tell of a person."""
    found = _decoded(headers)
    lineage = {name: found[name] for name in _LINEAGE if name in found}
    return msgspec.json.encode({ERASED_AT: at, ERASED_BY: actor} | lineage)


def is_masked(payload_is_mask: bool, headers: bytes | None) -> bool:
    """Whether there is nothing left to erase. A publisher may have written the mask, and anything beside it."""
    found = _decoded(headers)
    return payload_is_mask and ERASED_AT in found and not found.keys() - {ERASED_AT, ERASED_BY, *_LINEAGE}


def masked(event: NewEvent, actor: str, at: str) -> NewEvent:
    """*event*, as it is on its way to a store, erased."""
    return event._replace(payload=MASK, headers=masked_headers(event.headers, actor, at))


def _decoded(headers: bytes | None) -> dict[str, str]:
    """No headers, where another program stored something else."""
    try:
        return msgspec.json.decode(headers or b"{}", type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
