"""Where the events of a causation tree stand in its picture. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.stores.records import CausationTree, EventRecord

_STEP, _ROW, _MARGIN = 22, 26, 14
_LETTER = 7.4
_DEPTH_MAX = 12


@dataclass(frozen=True, slots=True)
class Place:
    """An event in the picture, in pixels: its left end and middle, and the line from its cause."""

    event: EventRecord
    x: int
    y: int
    line: str | None
    is_self: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """All places, each cause right above its first effect."""

    places: tuple[Place, ...]
    width: int
    height: int


def picture(tree: CausationTree) -> Picture:
    """Draw *tree*: a row for each event, its effects below it and one step to the right, the earliest first."""
    known = {str(node.event.id) for node in tree.nodes}
    effects: dict[str | None, list[EventRecord]] = {}
    for node in sorted(tree.nodes, key=lambda node: node.event.position):
        cause = node.cause if node.cause in known and node.cause != str(node.event.id) else None
        effects.setdefault(cause, []).append(node.event)
    places: list[Place] = []
    seen: set[str] = set()
    # Depth first, with a stack of our own: a chain of causes may be longer than Python's.
    waiting: list[tuple[EventRecord, int, Place | None]] = [(one, 0, None) for one in reversed(effects.get(None, []))]
    while waiting:
        event, depth, cause_place = waiting.pop()
        if str(event.id) in seen:  # another program wrote a circle
            continue
        seen.add(str(event.id))
        place = _placed(event, min(depth, _DEPTH_MAX), len(places), cause_place, is_self=event.id == tree.event_id)
        places.append(place)
        waiting += [(one, depth + 1, place) for one in reversed(effects.get(str(event.id), []))]
    width = max((place.x + int(_LETTER * (len(place.event.name) + 44)) for place in places), default=0)
    return Picture(tuple(places), width, _ROW * len(places) + _MARGIN // 2)


def _placed(event: EventRecord, depth: int, row: int, cause: Place | None, *, is_self: bool) -> Place:
    x, y = _MARGIN + depth * _STEP, _MARGIN + row * _ROW
    line = None if cause is None else f"M{cause.x} {cause.y + 6}V{y}H{x - 6}"
    return Place(event, x, y, line, is_self)
