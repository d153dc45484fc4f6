"""Dead letters grouped by what they died of. The statements are each store's own, the fingerprint is nobody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.fingerprint import Fingerprint, fingerprint
from holdfast.stores.records import DeadGroup, DeadGroups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

LOOKED_MAX = 10_000
"""Dead letters that are grouped at most, the latest ones."""

LOOKED_SECONDS = 0.2
"""After so long no more are looked at."""

_CHUNK = 1_000


class Cause(NamedTuple):
    """What a delivery died of; event and time as the store has them."""

    delivery: int
    subscription: str
    event_id: Any
    died_at: Any
    fingerprint: Fingerprint


class Reading(NamedTuple):
    """Rows of a named statement, and what becomes of its columns."""

    rows: Callable[..., Awaitable[list[tuple[Any, ...]]]]
    as_uuid: Callable[[Any], UUID]
    as_moment: Callable[[Any], datetime]


def chunks(deliveries: Sequence[int]) -> Iterator[list[int]]:
    """Deliveries whose causes are asked for in one go."""
    return (list(deliveries[start : start + _CHUNK]) for start in range(0, len(deliveries), _CHUNK))


async def causes(reading: Reading, deliveries: list[int]) -> list[Cause]:
    """What each of the deliveries died of, the latest first."""
    return [
        # Where no attempt is on record, what was said when the delivery was given up.
        Cause(row[0], row[1], row[2], row[3], fingerprint(error, reason if error is None else message, traceback))
        for *row, reason, error, message, traceback in await reading.rows("dead_causes", deliveries=deliveries)
    ]


def grouped(reading: Reading, found: Sequence[Cause], *, complete: bool) -> DeadGroups:
    """Groups of what *found* has, given from the latest to the oldest; the largest group first."""
    alike: dict[tuple[str, str], list[Cause]] = {}
    for cause in found:
        alike.setdefault((cause.subscription, cause.fingerprint.digest), []).append(cause)
    groups = [_group(reading, causes) for causes in alike.values()]
    ordered = sorted(groups, key=lambda group: (-group.count, group.subscription, group.fingerprint))
    return DeadGroups(tuple(ordered), len(found), complete)


def _group(reading: Reading, causes: Sequence[Cause]) -> DeadGroup:
    latest = causes[0]
    digest, error, message, frame = latest.fingerprint
    times = [cause.died_at for cause in causes]
    first, last = reading.as_moment(min(times)), reading.as_moment(max(times))
    return DeadGroup(
        latest.subscription, digest, error, message, frame, len(causes), first, last, reading.as_uuid(latest.event_id)
    )
