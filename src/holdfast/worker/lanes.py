"""Who may run next: one delivery of a key at a time, in the order of arrival. Pure state."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
        # The first of each lane and those behind it; alone, as most are, it needs no deque.
        self._lanes: dict[Key, InHand | deque[InHand]] = {}

    def __len__(self) -> int:
        """Deliveries that are ready."""
        return len(self._ready)

    def add(self, item: InHand) -> None:
        """Ready, or behind the others of its key."""
        self.add_all((item,))

    def add_all(self, items: Iterable[InHand]) -> None:
        """What `add` does, for many."""
        lanes, ready = self._lanes, self._ready.append
        for item in items:
            if (key := item.key) is None or (lane := lanes.setdefault(key, item)) is item:
                ready(item)
            elif isinstance(lane, deque):
                lane.append(item)
            else:
                lanes[key] = deque((lane, item))

    def has_fresh(self, key: Key | None) -> bool:
        """Whether events of *key* that have no delivery row are in its lane."""
        lane = None if key is None else self._lanes.get(key)
        if isinstance(lane, deque):
            return any(item.due is None for item in reversed(lane))
        return lane is not None and lane.due is None

    def take(self) -> InHand:
        """The next one that is ready; its lane stays closed until `free`."""
        return self._ready.popleft()

    @property
    def has_awaited(self) -> bool:
        """Whether one is ready that a recovery waits for."""
        return any(item.on_done is not None for item in self._ready)

    def take_probe(self) -> InHand:
        """The next one for an open breaker: one that a recovery waits for, then one that has not failed yet.

        That is less likely to be one that can never be handled.
        """
        found = min(self._ready, key=lambda item: 0 if item.on_done is not None else 1 if item.due is None else 2)
        self._ready.remove(found)
        return found

    def take_behind(self, key: Key | None) -> InHand | None:
        """The next one of a lane whose first runs: for batches, which take several of a key."""
        lane = None if key is None else self._lanes.get(key)
        if not isinstance(lane, deque) or len(lane) == 1:
            return None
        found = lane[1]
        del lane[1]
        return found

    def remove(self, item: InHand) -> bool:
        """Take *item* out where it is ready (True); its lane stays closed until `free`."""
        found = item in self._ready
        if found:
            self._ready.remove(item)
        return found

    def put_back(self, item: InHand) -> None:
        """*item* did not run after all: it is the next one out, its lane stays closed."""
        self._ready.appendleft(item)

    def free(self, key: Key | None) -> bool:
        """The lane's first is done: its next one is ready (True), or the lane is gone."""
        if key is None:
            return False
        lane = self._lanes.get(key)
        if not isinstance(lane, deque) or len(lane) == 1:
            self._lanes.pop(key, None)
            return False
        lane.popleft()
        self._ready.append(lane[0])
        return True

    def empty_lane(self, key: Key | None) -> Iterator[InHand]:
        """Take everything that stands behind the lane's first, in order."""
        while (item := self.take_behind(key)) is not None:
            yield item
