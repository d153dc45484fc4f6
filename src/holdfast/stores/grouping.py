"""Dead letters grouped by what they died of. The statements are each store's own, the fingerprint is nobody's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.fingerprint import Fingerprint, fingerprint
from holdfast.stores.records import DeadGroup, DeadGroups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

LOOKED_MAX = 10_000
"""Dead letters that are grouped, the latest ones."""

_CHUNK = 1_000


class Cause(NamedTuple):
    """What a delivery died of."""

    delivery: int
    subscription: str
    event_id: UUID
    died_at: datetime
    fingerprint: Fingerprint


async def causes(
    rows: Callable[..., Awaitable[list[tuple[Any, ...]]]],
    as_uuid: Callable[[Any], UUID],
    as_moment: Callable[[Any], datetime],
    deliveries: Sequence[int],
) -> AsyncIterator[Cause]:
    """What each of the deliveries died of, in their order, the latest first."""
    for start in range(0, len(deliveries), _CHUNK):
        for delivery, subscription, event_id, died_at, reason, error, message, traceback in await rows(
            "dead_causes", deliveries=list(deliveries[start : start + _CHUNK])
        ):
            # Where no attempt is on record, what was said when the delivery was given up.
            found = fingerprint(error, reason if error is None else message, traceback)
            yield Cause(delivery, subscription, as_uuid(event_id), as_moment(died_at), found)


def grouped(found: Iterable[Cause], *, complete: bool) -> DeadGroups:
    """Groups of what *found* has, given from the latest to the oldest; the largest group first."""
    groups: dict[tuple[str, str], DeadGroup] = {}
    looked = 0
    for cause in found:
        looked += 1
        place = cause.subscription, cause.fingerprint.digest
        digest, error, message, frame = cause.fingerprint
        group = groups.get(place) or DeadGroup(
            cause.subscription, digest, error, message, frame, 0, cause.died_at, cause.died_at, cause.event_id
        )
        groups[place] = replace(
            group,
            count=group.count + 1,
            first_seen=min(group.first_seen, cause.died_at),
            last_seen=max(group.last_seen, cause.died_at),
        )
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.subscription, group.fingerprint))
    return DeadGroups(tuple(ordered), looked, complete)
