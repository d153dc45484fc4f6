"""Who may run next: one delivery of a key at a time, in the order of arrival. Pure state."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.worker.hand import InHand, Key


class Lane(Enum):
    """What becomes of a key's lane after an attempt."""

    FREE = "free"  # its next event may run
    CLOSED = "closed"  # it opens again by itself, after a commit
    AGAIN = "again"  # the same event runs again, before any other of its key
    BLOCKED = "blocked"  # later events of the key go behind this one, off the fast path


class Lanes:
    """
    Deliveries that wait to run.

    A key's first delivery is ready at once; those that come before it is done stand behind it, in its lane. A lane
    exists for as long as its key has a delivery that is ready, running or closed.
    """

    def __init__(self) -> None:
        self._ready: deque[InHand] = deque()
        self._behind: dict[Key, deque[InHand] | None] = {}

    def __len__(self) -> int:
        """Deliveries that are ready."""
        return len(self._ready)

    def add(self, item: InHand) -> None:
        if (key := item.key) is not None:
            if key in self._behind:
                lane = self._behind[key]
                if lane is None:
                    lane = self._behind[key] = deque()
                lane.append(item)
                return
            self._behind[key] = None
        self._ready.append(item)

    def take(self) -> InHand:
        """The next one that is ready; its lane stays closed until `free`."""
        return self._ready.popleft()

    def take_behind(self, key: Key | None) -> InHand | None:
        """The next one of a lane whose first runs: for batches, which take several of a key."""
        lane = None if key is None else self._behind.get(key)
        return lane.popleft() if lane else None

    def put_back(self, item: InHand) -> None:
        """*item* did not run after all: it is the next one out, its lane stays closed."""
        self._ready.appendleft(item)

    def put_last(self, item: InHand) -> None:
        """*item* runs again, after those of other keys that are ready; its lane stays closed."""
        self._ready.append(item)

    def free(self, key: Key | None) -> bool:
        """The lane's first is done: its next one is ready (True), or the lane is gone."""
        if key is None:
            return False
        if lane := self._behind.get(key):
            self._ready.append(lane.popleft())
            return True
        self._behind.pop(key, None)
        return False

    def empty_lane(self, key: Key | None) -> Iterator[InHand]:
        """Take everything that stands behind the lane's first, in order."""
        while (item := self.take_behind(key)) is not None:
            yield item
