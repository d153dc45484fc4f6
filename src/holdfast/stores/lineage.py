"""What caused an event, and what it caused: by the header ``causation_id``. The statements are each store's own.

Upwards every event names one cause. Downwards a search index leads to the effects of an event; without it the events
stored after it are looked at, in one pass: an effect is stored after its cause, so that a cause is known when its effects
come by.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.errors import NotFound
from holdfast.stores import searching
from holdfast.stores.records import CausationNode, CausationTree

if TYPE_CHECKING:
    from holdfast.stores.records import EventRecord
    from holdfast.stores.searching import Reading, Rows

CAUSES_MAX = 50
"""Steps upwards."""

_POSITION_MAX = 2**63 - 1
_NOT_ASKED = (
    "event_id", "name", "regex", "key", "since", "until", "correlation_id", "payload_path", "payload_value", "status",
)  # fmt: skip


async def causation_tree(reading: Reading, event_id: UUID, tenant_id: str | None, *, limit: int) -> CausationTree:
    """See `Inspector.causation`."""
    chain = await causes(reading, event_id)
    is_indexed = await has_index(reading)
    if is_indexed:
        effects, is_complete = await effects_by_index(reading, str(event_id), limit)
    else:
        effects, is_complete = await effects_by_log(reading, str(event_id), chain[-1][1], limit)
    # In a circle an event is both.
    rows = chain + [row for row in effects if row[0] not in {one[0] for one in chain}]
    events = await events_at(reading, rows, tenant_id)
    if event_id not in events:
        raise NotFound(f"no event {event_id} of tenant {tenant_id!r} is in the log (any more)")
    found = [(events.get(UUID(row[0])), row[3]) for row in rows]
    nodes = tuple(CausationNode(event, cause) for event, cause in found if event is not None)
    return CausationTree(event_id, nodes, is_complete, None if is_indexed or is_complete else "causation")


async def events_at(reading: Reading, rows: Rows, tenant_id: str | None) -> dict[UUID, EventRecord]:
    """The events of *rows* by their ids, of one tenant or of all."""
    asked = dict.fromkeys(_NOT_ASKED) | {"tenant_id": tenant_id, "limit": len(rows)}
    places = {"positions": [row[1] for row in rows], "days": [row[2] for row in rows]}
    events = map(reading.as_event, await reading.rows("page_events", **asked | places))
    return {event.id: event for event in events}


async def has_index(reading: Reading) -> bool:
    return any(row[0] == "causation" and row[2] for row in await reading.rows("search_indexes"))


async def causes(reading: Reading, event_id: UUID) -> Rows:
    """(id, position, day, cause) of the event and of what caused it, the first cause first."""
    chain: Rows = []
    wanted: UUID | None = event_id
    while wanted is not None and len(chain) <= CAUSES_MAX:
        found = await reading.rows("lineage", event_id=wanted)
        if not found:
            break
        chain.insert(0, found[0])
        wanted = as_other_event(found[0][3], {row[0] for row in chain})
    if not chain:
        raise NotFound(f"no event {event_id} is in the log (any more), so nothing is known of what it caused")
    return chain


def as_other_event(cause: str | None, seen: set[str]) -> UUID | None:
    """The id of the cause; None where it is none, or goes round in a circle, as another program may have written it."""
    found = searching.as_event_id(cause)
    return None if found is None or str(found) in seen else found


async def effects_by_index(reading: Reading, event_id: str, limit: int) -> tuple[Rows, bool]:
    """What the event caused, generation by generation; and whether that is all."""
    effects: Rows = []
    seen, generation = {event_id}, [event_id]
    while generation:
        found = await reading.rows("effects", causes=generation, limit=limit + 1)
        fresh = sorted((row for row in found if row[0] not in seen), key=itemgetter(1))
        effects += fresh
        if len(effects) > limit:
            return effects[:limit], False
        generation = [row[0] for row in fresh]
        seen.update(generation)
    return effects, True


async def effects_by_log(reading: Reading, event_id: str, position: int, limit: int) -> tuple[Rows, bool]:
    """The same among the events stored next."""
    after: dict[str, Any] = {"after": position, "until_position": _POSITION_MAX}
    ((last,),) = await reading.rows("replay_window", **after, limit=searching.LOOKED_MAX)
    if last is None:
        return [], True
    effects: Rows = []
    seen = {event_id}
    for row in await reading.rows("effects_between", after=position, until_position=last):
        if row[3] in seen:
            if len(effects) == limit:
                return effects, False
            effects.append(row)
            seen.add(row[0])
    ((beyond,),) = await reading.rows("replay_window", after=last, until_position=_POSITION_MAX, limit=1)
    return effects, beyond is None
