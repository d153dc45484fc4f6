"""Deliveries in a worker's hands, and the partitions that they belong to. Plain state, no I/O."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from holdfast.stores.values import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable

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

    __slots__ = ("after", "first", "open")

    def __init__(self, after: Cursor, first: int) -> None:
        self.after, self.first, self.open = after, first, 0


class Phase(Enum):
    """Where a partition stands between being acquired and being read at full speed."""

    STARTING = "starting"  # delivery rows are being loaded, suspects run
    CHECKING = "checking"  # events up to the take-over's horizon are looked up before they are handed out
    FAST = "fast"
    ENDING = "ending"  # given back: nothing new is handed out
    LOST = "lost"


class Partition:
    """One leased partition: its epoch, its place in the log, and the keys that wait."""

    __slots__ = (
        "blocked", "crashes", "cursor", "dirty", "doubtful", "epoch", "exact", "horizon", "in_hand", "incarnation", "lost", "marks", "phase",
        "recovering", "settled", "skipped", "slice", "written",
    )  # fmt: skip

    def __init__(self, lease: Lease) -> None:
        self.slice: Slice = lease.slice
        self.epoch = lease.epoch
        self.phase = Phase.STARTING
        self.exact = lease.clean  # nothing beyond what was read was ever handled
        self.lost, self.crashes = lease.lost, lease.crashes
        self.doubtful = (
            IN_HAND_MAX  # so many unsettled events from the cursor on may have been in the hands of the lost
        )
        self.cursor = lease.cursor  # where reading goes on
        self.settled = lease.cursor  # everything before it is settled
        self.written = lease.cursor  # what the store has
        self.incarnation: str | None = None  # of the server, in which the places were read; None: they are persisted
        self.horizon: str | None = None  # up to here events are checked before they run
        self.marks: deque[Mark] = deque()
        self.blocked: dict[Key, int] = {}  # keys with unsettled delivery rows, and how many
        self.in_hand = 0
        self.dirty = False  # something was handed out since the cursor was written
        self.skipped = False  # something that was read was dropped: the cursor is not exact
        self.recovering = False  # a chunk of recovery is under way: no page is read

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
        """Given back now, the cursor says it all: everything read is settled, and nothing beyond it was touched."""
        return self.exact and self.in_hand == 0 and not self.marks and not self.skipped and not self.recovering

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
    def place(self) -> Cursor:
        """What is to be written of the cursor: what is settled, and of what is in hand the window that it lies in."""
        if not self.marks or self.settled.open is not None:
            return self.settled
        last = self.marks[-1].after
        first = min(mark.first for mark in self.marks)
        return Cursor(self.settled.done, last.open or last.done, 0 if first == _NOWHERE else first)

    def advance(self) -> None:
        """Move the settled cursor over all pages at the front that have nothing open."""
        marks = self.marks
        while marks and marks[0].open == 0:
            self.settled = marks.popleft().after

    def block(self, key: Key) -> None:
        self.blocked[key] = self.blocked.get(key, 0) + 1

    def unblock(self, key: Key) -> None:
        left = self.blocked.get(key, 0) - 1
        if left > 0:
            self.blocked[key] = left
        else:
            self.blocked.pop(key, None)

    def restart(self, cursor: Cursor) -> None:
        """Read again from the persisted place: what was taken by the lost session is void."""
        self.cursor = self.settled = self.written = cursor
        self.incarnation = None
        self.marks.clear()
        self.exact = False


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
