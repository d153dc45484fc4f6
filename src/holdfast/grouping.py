"""Which calls of publish go into the next transaction together, and which may go beside those under way.

Nothing here waits: these are decisions about what is queued.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from holdfast.event import NewEvent, Published

_GROUP, _GROUP_BYTES = 500, 4 * 2**20
_WORTH_HALVING = 64  # a commit for fewer calls costs more than is won by it


@dataclass(slots=True, eq=False)
class Request:
    """Events of one call, and who waits for them."""

    events: Sequence[NewEvent]
    answer: asyncio.Future[list[Published]]
    atomic: bool

    @property
    def keys(self) -> set[tuple[str, str]]:
        """What has an order: events without a key have none."""
        return {(event.tenant_id, event.key) for event in self.events if event.key is not None}


class Queue:
    """Calls that wait, in their order, and the groups of them that are under way.

    No key is in two groups at once: that keeps the order of the calls for each key, whichever group is stored first.

    Args:
        abreast: How many groups may be under way at once. With two, the callers of one group make their next events
            while the store works on the other; else client and store would wait for each other in turn.
    """

    def __init__(self, abreast: int) -> None:
        self._abreast = abreast
        self._waiting: deque[Request] = deque()
        self._under_way: list[list[Request]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Request) -> None:
        self._waiting.append(request)

    def take(self) -> list[Request]:
        """
        The next group; empty while all who wait must wait on. `release` it when its calls are answered.

        A call that must be stored whole goes alone, one that was cancelled is withdrawn. Who shares a key with a group
        under way is passed over, and so is everybody who shares one with him.
        """
        held = {key for group in self._under_way for request in group for key in request.keys}
        group: list[Request] = []
        passed: list[Request] = []
        room, size, length = self._room(), 0, 0
        while self._waiting and size < room and length < _GROUP_BYTES and len(passed) < _GROUP:
            request = self._waiting[0]
            if request.atomic and group:
                break
            self._waiting.popleft()
            if request.answer.done():
                continue
            if held and not held.isdisjoint(keys := request.keys):
                held |= keys
                passed.append(request)
                continue
            group.append(request)
            size += len(request.events)
            length += sum(len(event.payload) for event in request.events)
            if request.atomic:
                break
        self._waiting.extendleft(reversed(passed))
        if group:
            self._under_way.append(group)
        return group

    def release(self, group: list[Request]) -> None:
        """The calls of *group* are answered: their keys are free."""
        self._under_way.remove(group)

    def _room(self) -> int:
        if self._under_way or self._abreast == 1:
            return _GROUP
        # All who wait have been answered together, and would go on in step: half of them go first.
        return min(_GROUP, max(_WORTH_HALVING, len(self._waiting) // 2))
