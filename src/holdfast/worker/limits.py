"""Lanes of a subscription with limits: what is over a limit waits in its turn, and keeps nobody else waiting. Pure."""

from __future__ import annotations

import math
from collections import Counter, deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from holdfast.worker.lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from holdfast.subscription import Limit
    from holdfast.worker.hand import InHand, Key

Group = tuple[str, str | None]
"""A tenant, or one of its keys."""

_FEW = 1_024
_MOMENT = 1e-6  # less than that added to a clock may be nothing
_BURST_SECONDS, _COUNT_SECONDS = 0.1, 1.0


class Gate:
    """
    One limit: who has to wait, and for how long.

    A rate is kept by the generic cell rate algorithm (ITU-T I.371): of each group one time is known, at which it has
    used up all that it may.

    Args:
        limit: What is declared.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._used_up_at: dict[Group, float] = {}
        self._look_at_size = _FEW
        self._at_once: Counter[Group] = Counter()

    def group(self, item: InHand) -> Group | None:
        """Whose limit it is; None where it has none: an event without a key."""
        row = item.row
        if self.limit.per == "tenant":
            return row.tenant_id, None
        return None if row.key is None else (row.tenant_id, row.key)

    def wait(self, group: Group, now: float, part: float) -> float:
        """Seconds until one more may go: 0 now, infinity when one that runs has ended. *part* of the rate is there."""
        limit = self.limit
        if limit.at_once is not None and self._at_once[group] >= limit.at_once:
            return math.inf
        if limit.rate is None or (used_up_at := self._used_up_at.get(group)) is None:
            return 0.0
        seconds = used_up_at - now - (self._burst(part) - 1) / (limit.rate * part)
        return seconds if seconds > _MOMENT else 0.0

    def enter(self, group: Group, now: float, part: float) -> None:
        """One goes."""
        limit = self.limit
        if limit.at_once is not None:
            self._at_once[group] += 1
        if limit.rate is not None:
            self._used_up_at[group] = max(self._used_up_at.get(group, now), now) + 1 / (limit.rate * part)
            if len(self._used_up_at) > self._look_at_size:
                self._forget(now)

    def take_back(self, group: Group, part: float) -> None:
        """One that went has not gone after all."""
        self.end(group)
        if self.limit.rate is not None and group in self._used_up_at:
            self._used_up_at[group] -= 1 / (self.limit.rate * part)

    def end(self, group: Group) -> None:
        """One that went has ended."""
        if self.limit.at_once is not None:
            self._at_once[group] -= 1
            if self._at_once[group] <= 0:
                del self._at_once[group]

    def of_seconds(self, seconds: float, part: float) -> int:
        """Events that may go in so many seconds; 0 where only those at once are limited."""
        return 0 if self.limit.rate is None else math.ceil(self.limit.rate * part * seconds)

    def _burst(self, part: float) -> float:
        """As many may go one right after the other: a tenth of a second's, or a timer that is late would slow it down."""
        limit = self.limit
        assert limit.rate is not None
        return max(1.0, limit.rate * part * _BURST_SECONDS if limit.burst is None else limit.burst * part)

    def _forget(self, now: float) -> None:
        """Groups that have all of their limit again are as good as unknown."""
        self._used_up_at = {group: at for group, at in self._used_up_at.items() if at > now}
        self._look_at_size = max(_FEW, 2 * len(self._used_up_at))


Place = tuple[Gate, Group]


class LimitedLanes(Lanes):
    """
    What is ready goes first come, first served, within each tenant and key; who has to wait is passed by.

    The next one is chosen, and counted, when somebody asks whether there is one.

    Args:
        limits: What is declared.
        elapsed: The time, seconds.
        part: Which part of the subscription's partitions is this worker's.
    """

    def __init__(self, limits: Sequence[Limit], elapsed: Callable[[], float], part: Callable[[], float]) -> None:
        super().__init__()
        self.gates = sorted((Gate(limit) for limit in limits), key=lambda gate: gate.limit.per)  # the narrower first
        self._elapsed, self._count_part = elapsed, part
        self._part, self._counted_at = 1.0, -math.inf
        self._next: InHand | None = None
        self._waiting: dict[Place, deque[InHand]] = {}
        self._opens: list[tuple[float, int, Place]] = []  # a heap; the number says which of two at once was first
        self._number = 0
        self._taken: list[InHand] = []

    # Who may go

    def has_next(self) -> bool:
        if self._next is None:
            now = self._elapsed()
            self._next = self._first_waiting(now) or self._first_ready(now)
        return self._next is not None

    def take(self) -> InHand:
        item, self._next = self._next, None
        assert item is not None, "has_next() is asked first"
        self._taken.append(item)
        return item

    def take_probe(self) -> InHand:
        """A probe is one event, and seldom: it waits for no limit."""
        self.recall()
        found = super().take_probe()
        self._enter(found, self._elapsed())
        self._taken.append(found)
        return found

    def take_behind(self, key: Key | None) -> InHand | None:
        found = self.behind(key)
        if found is None or self._barrier(found, self._elapsed()) is not None:
            return None
        super().take_behind(key)
        self._enter(found, self._elapsed())
        self._taken.append(found)
        return found

    def empty_lane(self, key: Key | None) -> Iterator[InHand]:
        while (item := super().take_behind(key)) is not None:
            yield item

    def still_run(self, items: Iterable[InHand]) -> None:
        kept = set(map(id, items))
        self._end(item for item in self._taken if id(item) not in kept)
        self._taken.clear()

    def ended(self, items: Iterable[InHand]) -> None:
        self._end(items)

    def opens_in(self) -> float | None:
        return max(0.0, self._opens[0][0] - self._elapsed()) if self._opens else None

    def _first_waiting(self, now: float) -> InHand | None:
        """The first one that waited and need not any more."""
        while self._opens and self._opens[0][0] <= now:
            _, _, place = heappop(self._opens)
            if (queue := self._waiting.get(place)) is None:
                continue
            barrier = self._barrier(queue[0], now, of_those_that_wait=place)
            if barrier is not None and barrier[0] == place:
                self._look_again(place, now + barrier[1])
                continue
            item = queue.popleft()
            if queue:
                self._look_again(place, now)
            else:
                del self._waiting[place]
            if barrier is None:
                self._enter(item, now)
                return item
            self._wait_at(*barrier, item, now)
        return None

    def _first_ready(self, now: float) -> InHand | None:
        """The first one that came and need not wait; those before it wait from here on."""
        while self._ready:
            item = self._ready.popleft()
            if (barrier := self._barrier(item, now)) is None:
                self._enter(item, now)
                return item
            self._wait_at(*barrier, item, now)
        return None

    def _part_at(self, now: float) -> float:
        """Counted anew after a second: it is asked for with every event."""
        if now - self._counted_at > _COUNT_SECONDS:
            self._part, self._counted_at = self._count_part(), now
        return self._part

    def _barrier(
        self, item: InHand, now: float, *, of_those_that_wait: Place | None = None
    ) -> tuple[Place, float] | None:
        """Where it has to wait, and how long at least; None: it may go."""
        part = self._part_at(now)
        for gate in self.gates:
            if (group := gate.group(item)) is None:
                continue
            place = gate, group
            if place in self._waiting and place != of_those_that_wait:
                return place, math.inf  # behind the others, whose first one is looked at in time
            if seconds := gate.wait(group, now, part):
                return place, seconds
        return None

    def _enter(self, item: InHand, now: float) -> None:
        part = self._part_at(now)
        for gate in self.gates:
            if (group := gate.group(item)) is not None:
                gate.enter(group, now, part)

    def _take_back(self, item: InHand) -> None:
        """Or each look at what comes next would use up what it may, and a probe that looks twice would never go."""
        for gate in self.gates:
            if (group := gate.group(item)) is not None:
                gate.take_back(group, self._part)

    def _wait_at(self, place: Place, seconds: float, item: InHand, now: float) -> None:
        if (queue := self._waiting.get(place)) is not None:
            queue.append(item)
        else:
            self._waiting[place] = deque((item,))
            self._look_again(place, now + seconds)

    def _look_again(self, place: Place, at: float) -> None:
        if at < math.inf:
            self._number += 1
            heappush(self._opens, (at, self._number, place))

    def _end(self, items: Iterable[InHand]) -> None:
        now = self._elapsed()
        for item in items:
            for gate in self.gates:
                if gate.limit.at_once is not None and (group := gate.group(item)) is not None:
                    gate.end(group)
                    if (gate, group) in self._waiting:
                        self._look_again((gate, group), now)

    # What waits

    @property
    def tenants_held_up(self) -> dict[str, int]:
        part = self._part
        tenants = [(tenant, gate) for gate, (tenant, key) in self._waiting if key is None]
        return {tenant: gate.of_seconds(1, part) for tenant, gate in tenants}

    def take_lanes_held_up(self, more_than: int) -> list[InHand]:
        keys = [(tenant, key) for _, (tenant, key) in self._waiting if key is not None]
        if not (long := [key for key in keys if self.length(key) > more_than]):
            return []
        self.recall()
        return [item for key in long for item in self._take_lane(key)]

    def _take_lane(self, key: Key) -> Iterator[InHand]:
        first = next(item for item in self._ready if item.key == key)
        self._ready.remove(first)
        yield first
        yield from self.empty_lane(key)
        self.free(key)

    def recall(self) -> None:
        """All that waits for a limit is ready, as if it had just come, before the others."""
        back = [item for queue in self._waiting.values() for item in queue]
        if self._next is not None:
            self._take_back(self._next)
            back.insert(0, self._next)
            self._next = None
        self._waiting.clear()
        self._opens.clear()
        self._ready.extendleft(reversed(back))

    def draw(self) -> InHand | None:
        self.recall()
        return super().draw()

    def remove(self, item: InHand) -> bool:
        self.recall()
        return super().remove(item)

    @property
    def has_awaited(self) -> bool:
        self.recall()
        return super().has_awaited
