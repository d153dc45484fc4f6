"""Deliveries in a worker's hands, and the partitions that they belong to. Plain state, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from holdfast.stores.values import Cursor, Place

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterator

    from holdfast.event import Row
    from holdfast.stores.values import Due, Lease, Page, Slice

Key = tuple[str, str]

PAGE_EVENTS = 1000
"""Events that are read at once."""
BOUND = 2000
"""Deliveries of a subscription in hand above which no more are read for it."""
BYTES_BOUND = 32 * 2**20
"""Bytes of their payloads above which no more are read for it."""
IN_HAND_MAX = BOUND + PAGE_EVENTS


_NOWHERE = 2**63


class Mark:
    """
    How many deliveries of one page are not settled yet, the page's first position, and where the cursor stands once
    all are.
    """

    __slots__ = ("after", "first", "open", "then")

    def __init__(self, after: Cursor, first: int) -> None:
        self.after, self.first, self.open = after, first, 0
        self.then: list[Mark] | None = (
            None  # of tenants that give way from here on: theirs are open until this is settled
        )


class Phase(Enum):
    """Where a partition stands between being acquired and being read at full speed."""

    STARTING = "starting"  # delivery rows are being loaded, suspects run
    CHECKING = "checking"  # events up to the take-over's horizon are looked up before they are handed out
    FAST = "fast"
    ENDING = "ending"  # given back: nothing new is handed out
    LOST = "lost"


class Partition:
    """One leased partition: its epoch, its place in the log, the keys that wait, and the tenants that are deferred."""

    __slots__ = (
        "blocked", "crashes", "cursor", "deferred", "dirty", "doubtful", "epoch", "exact", "horizon", "in_hand",
        "incarnation", "lost", "marks", "phase", "recovering", "settled", "skipped", "slice", "written",
    )  # fmt: skip

    def __init__(self, lease: Lease) -> None:
        self.slice: Slice = lease.slice
        self.epoch = lease.epoch
        self.phase = Phase.STARTING
        self.exact = lease.clean  # nothing beyond what was read was ever handled
        self.lost, self.crashes = lease.lost, lease.crashes
        self.blocked: dict[Key, int] = {}  # keys with unsettled delivery rows, and how many
        self._stand(lease.cursor)
        self.deferred = {tenant: Deferred(self, tenant, cursor) for tenant, cursor in lease.deferred}
        self.written = Place(lease.cursor, lease.deferred)  # what the store has

    def _stand(self, cursor: Cursor) -> None:
        self.doubtful = (
            IN_HAND_MAX  # so many unsettled events from the cursor on may have been in the hands of the lost
        )
        self.cursor = cursor  # where reading goes on
        self.settled = cursor  # everything before it is settled
        self.incarnation: str | None = None  # of the server, in which the places were read; None: they are persisted
        self.horizon: str | None = None  # up to here events are checked before they run
        self.marks: deque[Mark] = deque()
        self.in_hand = 0
        self.dirty = False  # something was handed out since the cursor was written
        self.skipped = False  # something that was read was dropped: the cursor is not exact
        self.recovering = False  # a chunk of recovery is under way: no page is read

    @property
    def whole(self) -> Partition:
        """The leased partition itself; of a deferred tenant's, the one that it is a part of."""
        return self

    @property
    def parts(self) -> Iterator[Partition]:
        """What is read by cursors of its own: the partition, and each tenant that is deferred."""
        yield self
        yield from self.deferred.values()

    def takes(self, tenant_id: str) -> bool:
        """Whether a tenant's events are read with this cursor."""
        deferred = self.deferred.get(tenant_id)
        return deferred is None or deferred.joined

    def holds_back(self, tenant_id: str) -> bool:
        """Whether a tenant's events wait here, from what is settled on."""
        deferred = self.deferred.get(tenant_id)
        return deferred is not None and deferred.waits

    def suspects_run_later(self, tenant_id: str) -> bool:
        """Whether rows of a tenant that are found ``running`` are looked for when it goes on, or in their turn by now."""
        deferred = self.deferred.get(tenant_id)
        return deferred is not None and (deferred.waits or deferred.recovering)

    @property
    def is_waiting(self) -> bool:
        """Whether nothing of it shall run."""
        return False

    @property
    def may_split(self) -> bool:
        """Whether a tenant can give way here: nothing is left to check."""
        return self.phase is Phase.FAST and self.is_readable

    @property
    def held(self) -> int:
        """Deliveries in hand, deferred tenants' included."""
        return sum(part.in_hand for part in self.parts)

    @property
    def is_lost(self) -> bool:
        """Whether something that the owner before may have had in hand is not recovered yet."""
        return any(part.lost for part in self.parts)

    @property
    def is_alive(self) -> bool:
        """Whether outcomes may still be written under this epoch."""
        return self.phase is not Phase.LOST

    @property
    def may_run(self) -> bool:
        return self.phase in _RUNNING

    @property
    def is_readable(self) -> bool:
        return self.phase in _READABLE and not self.recovering

    @property
    def ends_exactly(self) -> bool:
        """Given back now, the place says it all: everything read is settled, and nothing beyond it was touched."""
        return all(
            part.exact and part.in_hand == 0 and not part.marks and not part.skipped and not part.recovering
            for part in self.parts
        )

    def add_page(self, page: Page) -> Mark:
        """A page was read; its deliveries count on the mark."""
        mark = Mark(page.cursor, page.rows[0].position if page.rows else _NOWHERE)
        self.incarnation = page.incarnation
        self.marks.append(mark)
        self.cursor = page.cursor
        return mark

    def pass_over(self, page: Page) -> None:
        """A page was read in which there is nothing for it."""
        if self.marks:
            self.add_page(page)
        else:
            self.cursor = self.settled = page.cursor
            self.incarnation = page.incarnation

    @property
    def place(self) -> Place:
        """What is to be written."""
        return Place(self.own_place, tuple(sorted((tenant, one.own_place) for tenant, one in self.deferred.items())))

    def passed(self, latest: Callable[[Collection[str]], str]) -> Cursor:
        """
        What is settled of everything: where tenants are deferred, no more than the part that is furthest back.

        Args:
            latest: Tells which of several places in the log (`Cursor.done`) shows the most.
        """
        if not self.deferred:
            return self.own_place
        oldest = self.own_place.done
        for part in self.deferred.values():
            if (done := part.own_place.done) != oldest and latest((done, oldest)) == oldest:
                oldest = done
        return Cursor(oldest)

    @property
    def placed_in(self) -> str | None:
        """The incarnation of the server that `place` is of; None: it is persisted."""
        return next((part.incarnation for part in self.parts if part.incarnation is not None), None)

    @property
    def own_place(self) -> Cursor:
        """Of the cursor: what is settled, and of what is in hand the window that it lies in."""
        if not self.marks or self.settled.open is not None:
            return self.settled
        last = self.marks[-1].after
        first = min(mark.first for mark in self.marks)
        return Cursor(self.settled.done, last.open or last.done, 0 if first == _NOWHERE else first)

    def advance(self) -> None:
        """Move the settled cursor over all pages at the front that have nothing open."""
        marks = self.marks
        while marks and marks[0].open == 0:
            mark = marks.popleft()
            self.settled = mark.after
            if mark.then is not None:
                for one in mark.then:
                    one.open -= 1

    def block(self, key: Key) -> None:
        self.blocked[key] = self.blocked.get(key, 0) + 1

    def unblock(self, key: Key) -> None:
        left = self.blocked.get(key, 0) - 1
        if left > 0:
            self.blocked[key] = left
        else:
            self.blocked.pop(key, None)

    def restart(self, place: Place, horizon: str) -> None:
        """Read again from the persisted place, checked up to *horizon*: what was taken by the lost session is void."""
        self.written = place
        if self.is_lost and not self.lost:  # of a tenant that may not be deferred in what is persisted
            self.lost, self.doubtful = True, IN_HAND_MAX
        self._go_back(place.cursor)
        self.horizon = horizon
        known, self.deferred = self.deferred, {}
        # Of one that is not deferred in what is persisted, what is in hand is still held, and must end before a goodbye.
        held = {tenant: place.cursor for tenant, one in known.items() if one.in_hand}
        for tenant, cursor in (held | dict(place.deferred)).items():
            one = self.deferred[tenant] = known.get(tenant) or Deferred(self, tenant, cursor)
            one.go_back(cursor)
            one.horizon = horizon

    def _go_back(self, cursor: Cursor) -> None:
        self.cursor = self.settled = cursor
        self.incarnation = None
        self.marks.clear()
        self.exact = False
        if self.phase is Phase.FAST:
            self.phase = Phase.CHECKING

    def defer(self, tenant_id: str) -> None:
        """From here on leave a tenant's events out; they wait from what is settled on."""
        if (one := self.deferred.get(tenant_id)) is None:
            self.advance()
            one = self.deferred[tenant_id] = Deferred(self, tenant_id, self.settled)
            one.incarnation, one.exact, self.dirty = self.incarnation, False, True
        elif not one.waits:
            one.wait()

    def give_way(self, tenant_id: str) -> None:
        """From what has been read on, read a tenant's events with a cursor of its own: it has enough in hand."""
        self.advance()
        one = self.deferred[tenant_id] = Deferred(self, tenant_id, self.settled)
        one.incarnation, one.cursor, self.dirty = self.incarnation, self.cursor, True
        one.phase, one.waits, one.exact = Phase.FAST, False, self.exact
        if self.marks:  # what was read before is settled with the others' pages
            mark = Mark(self.cursor, min(mark.first for mark in self.marks))
            mark.open = 1
            one.marks.append(mark)
            self.marks[-1].then = [*(self.marks[-1].then or ()), mark]

    def set_apart(self, paused: Collection[str]) -> list[Deferred]:
        """Defer the tenants that are *paused*; returns those that wait though they need not any more."""
        for tenant in sorted(paused):
            self.defer(tenant)
        return [one for tenant, one in self.deferred.items() if one.waits and tenant not in paused]

    def rejoin(self) -> None:
        """Deferred tenants that have caught up are read with the others again, and forgotten once all is settled."""
        for tenant, one in list(self.deferred.items()):
            one.advance()
            if one.joined and not one.marks:
                del self.deferred[tenant]
                self.dirty = True
            elif one.has_caught_up:
                one.joined = True


class Deferred(Partition):
    """
    A tenant's part of a partition, with a cursor of its own: its events wait, or catch up with the others.

    What waits is a range of the log, from this cursor to the partition's. Nothing is written for an event.
    """

    __slots__ = ("joined", "tenant_id", "waits", "whole_partition")

    def __init__(self, partition: Partition, tenant_id: str, cursor: Cursor) -> None:
        self.whole_partition, self.tenant_id = partition, tenant_id
        self.slice, self.epoch, self.crashes = partition.slice, partition.epoch, partition.crashes
        self.phase, self.exact, self.lost = Phase.CHECKING, partition.exact, partition.lost
        self.deferred = {}
        self._stand(cursor)
        self.waits = True
        self.joined = False  # it has caught up: its events are read with the others, and its own are being settled

    @property
    def whole(self) -> Partition:
        return self.whole_partition

    @property
    def blocked(self) -> dict[Key, int]:  # type: ignore[override]  # it is the partition's
        return self.whole_partition.blocked

    @property
    def is_alive(self) -> bool:
        return self.whole_partition.is_alive

    @property
    def may_run(self) -> bool:
        return self.whole_partition.phase in _RUNNING

    @property
    def is_readable(self) -> bool:
        return not self.waits and not self.joined and not self.recovering and self.whole_partition.phase in _READABLE

    def takes(self, tenant_id: str) -> bool:
        return tenant_id == self.tenant_id and not self.waits

    @property
    def has_caught_up(self) -> bool:
        """Whether it stands where the partition stands, at the end of a window, and neither has anything left to check."""
        whole = self.whole_partition
        return (
            self.is_readable
            and self.phase is whole.phase is Phase.FAST
            and self.cursor == whole.cursor
            and self.cursor.open is None
        )

    @property
    def is_waiting(self) -> bool:
        return self.waits

    def wait(self) -> None:
        """Wait from what is settled on; what was handled beyond it is looked up when it goes on."""
        incarnation = self.incarnation
        self.go_back(self.settled)
        self.incarnation, self.waits, self.joined = incarnation, True, False

    def go_back(self, cursor: Cursor) -> None:
        """Read again from *cursor*."""
        self._go_back(cursor)
        self.joined = False

    def go_on(self, horizon: str) -> None:
        """Catch up with the others; up to *horizon* events are looked up before they run."""
        self.phase, self.horizon, self.waits = Phase.CHECKING, horizon, False


# Tuples, looked through by identity: a set would call the hash of an Enum, which is Python, for every event.
_RUNNING = (Phase.FAST, Phase.CHECKING, Phase.STARTING)
_READABLE = (Phase.FAST, Phase.CHECKING)


class InHand(msgspec.Struct, eq=False, gc=False):
    """
    One event for one subscription, read and not settled yet.

    Kept from the garbage collector, which would look at thousands again and again: once let go, nothing that it holds leads back to it.

    Attributes:
        key: Whose events go one after the other; None: in any order.
        size: Bytes of payload and headers.
        mark: The page that it was read with.
        due: The delivery row, when it is off the fast path.
        on_done: Called when it is let go.
        waits_for: What keeps its lane closed after its last attempt.
    """

    row: Row
    partition: Partition
    key: Key | None
    size: int
    mark: Mark | None = None
    due: Due | None = None
    attempt: int = 1
    put_offs: int = 0
    on_done: Callable[[], None] | None = None
    waits_for: int = 0

    @classmethod
    def of(cls, due: Due, partition: Partition, key: Key | None) -> InHand:
        """A delivery row that was claimed."""
        row = due.row
        return cls(row, partition, key, row.size, None, due, due.attempts + 1, due.put_offs)

    def close(self) -> None:
        """It is settled, handed back or dropped: nothing waits for it any more."""
        self.partition.in_hand -= 1
        if (mark := self.mark) is not None:
            mark.open -= 1
        if self.on_done is not None:
            self.on_done()


@dataclass(slots=True, eq=False)
class Slot:
    """One of the subscription's concurrent places, and what runs in it."""

    task: asyncio.Task[None] | None = None
    items: tuple[InHand, ...] = ()
    started: float = 0.0
    timed_out: bool = False
    aborted: bool = False
    probes: bool = False
