"""Who may run next: one delivery of a key at a time, in the order of arrival. Pure state."""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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

    def has_next(self) -> bool:
        """Whether one may run now. To be asked before each `take`."""
        return bool(self._ready)

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
        if (found := self.behind(key)) is not None:
            lane = self._lanes[key]  # type: ignore[index]
            del lane[1]  # type: ignore[union-attr]
        return found

    def behind(self, key: Key | None) -> InHand | None:
        """What stands right behind the first of a lane."""
        lane = None if key is None else self._lanes.get(key)
        return lane[1] if isinstance(lane, deque) and len(lane) > 1 else None

    def length(self, key: Key) -> int:
        """Deliveries in a lane."""
        lane = self._lanes.get(key)
        return len(lane) if isinstance(lane, deque) else int(lane is not None)

    def still_run(self, items: Iterable[InHand]) -> None:
        """Of all that was taken since this was called last only *items* still run: the others have ended."""

    def ended(self, items: Iterable[InHand]) -> None:
        """These do not run any more."""

    def opens_in(self) -> float | None:
        """Seconds until one that waits for a limit may run; None: nobody does for as long as nothing else happens."""
        return None

    @property
    def tenants_held_up(self) -> dict[str, int]:
        """Tenants that wait for a limit of theirs, and how many of their events may go in a second."""
        return {}

    def take_lanes_held_up(self, more_than: int) -> list[InHand]:  # noqa: ARG002 - `LimitedLanes` heeds it
        """Take everything, in order, from the lanes of keys that wait for a limit of theirs, where it is *more_than* so many."""
        return []

    def draw(self) -> InHand | None:
        """Take out the next one that is ready, to let go of it or put it back: it is not going to run."""
        return self._ready.popleft() if self._ready else None

    def remove(self, item: InHand) -> bool:
        """Take *item* out where it is ready (True); its lane stays closed until `free`."""
        found = item in self._ready
        if found:
            self._ready.remove(item)
        return found

    def put_back(self, item: InHand) -> None:
        """*item* did not run after all: it is the next one out, its lane stays closed."""
        self._ready.appendleft(item)

    def put_back_all(self, items: Iterable[InHand]) -> None:
        """What `put_back` does for a batch: the first of each key is out next, the others stand behind it again."""
        first: list[InHand] = []
        behind: dict[Key, list[InHand]] = {}
        for item in items:
            if item.key is None or item.key not in behind:
                first.append(item)
                if item.key is not None:
                    behind[item.key] = []
            else:
                behind[item.key].append(item)
        self._ready.extendleft(reversed(first))
        for key, followers in behind.items():
            if followers:
                lane = self._lanes[key]
                head, *rest = lane if isinstance(lane, deque) else (lane,)
                self._lanes[key] = deque((head, *followers, *rest))

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

    def take_behind_all(self, wanted: Callable[[InHand], bool]) -> list[InHand]:
        """Take everything that stands behind the first of its lane and is *wanted*, in order."""
        taken: list[InHand] = []
        for key, lane in self._lanes.items():
            if isinstance(lane, deque):
                behind = [item for item in islice(lane, 1, None) if wanted(item)]
                if behind:
                    left = set(map(id, lane)) - set(map(id, behind))
                    self._lanes[key] = deque(item for item in lane if id(item) in left)
                taken += behind
        return taken

    def empty_lane(self, key: Key | None) -> Iterator[InHand]:
        """Take everything that stands behind the lane's first, in order."""
        while (item := self.take_behind(key)) is not None:
            yield item
