"""The simulated PostgreSQL server: transactions, their ids, snapshots, locks, and what a crash leaves.

Tables other than the log change at the commit, all at once: of all that a server may do with statements before it,
that is the one with the fewest words, and the engine relies on no other. The log is different: its rows are there from
their statement on, under the id of a transaction that commits later, or never, and only snapshots tell which are seen.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from holdfast.errors import StoreUnavailable
from holdfast.stores.values import Slice, State
from tests.simulation.snapshots import Snapshot
from tests.simulation.tables import LoggedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from uuid import UUID

    from holdfast.event import Row
    from holdfast.stores.values import Cursor, Place
    from tests.simulation.tables import (
        AttemptRow,
        DeliveryRow,
        KnownSubscription,
        LeaseRow,
        ReceiptRow,
        StoredSnapshot,
        WorkerRow,
    )


class Effect(NamedTuple):
    """What a transactional handler wrote through the transaction that it was lent."""

    subscription: str
    event_id: bytes
    attempt: int
    epoch: int


class Fact(NamedTuple):
    """Something that the server did, for the checker: it was there and cannot be fooled.

    ``number`` counts what happens anywhere in the run, in its order.
    """

    number: int
    what: str
    about: Any


@dataclass(slots=True)
class Tables:
    """Everything but the log."""

    subscriptions: dict[int, KnownSubscription] = field(default_factory=dict)
    leases: dict[Slice, LeaseRow] = field(default_factory=dict)
    cursors: dict[Slice, Cursor] = field(default_factory=dict)
    deferred: dict[Slice, Place] = field(default_factory=dict)
    """Of partitions in which tenants are deferred."""
    deliveries: dict[int, DeliveryRow] = field(default_factory=dict)
    delivery_of: dict[tuple[int, bytes], DeliveryRow] = field(default_factory=dict)
    receipts: dict[tuple[int, bytes], ReceiptRow] = field(default_factory=dict)
    attempts: list[AttemptRow] = field(default_factory=list)
    workers: dict[UUID, WorkerRow] = field(default_factory=dict)
    snapshots: list[StoredSnapshot] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    generation: int = 1

    def is_held(self, slice_: Slice, epoch: int) -> bool:
        """Whether the lease is somebody's under this epoch."""
        row = self.leases.get(slice_)
        return row is not None and row.epoch == epoch and row.owner is not None

    def drop_delivery(self, row: DeliveryRow) -> None:
        self.deliveries.pop(row.id, None)
        self.delivery_of.pop((row.slice.subscription, row.row.id), None)


class Server:
    """One server and its only database.

    Args:
        clock: Seconds since 1970, the server's own.
        numbers: Count what happens in the run.
    """

    def __init__(self, clock: Callable[[], float], numbers: Iterator[int] | None = None) -> None:
        self.clock = clock
        self.numbers = numbers or count()
        self.up = True
        self.tables = Tables()
        self.log: list[LoggedEvent] = []  # by txid
        self.by_id: dict[bytes, LoggedEvent] = {}
        self.facts: list[Fact] = []
        self.listeners: list[Callable[[], None]] = []
        self.restarts = 1
        self.incarnation: int | None = None
        """The row of the unlogged table: gone after a crash."""
        self.open: dict[int, Transaction] = {}  # by a number that only the simulation knows
        self._begun = 0
        self._running: dict[int, Transaction] = {}  # by txid
        self._locks: dict[object, Transaction] = {}
        self._lease_locks: dict[Slice, int] = {}
        self._next_txid = 3
        self._latest_completed = 2
        self._flushed_txid = 2
        self._position = 0
        self._drawn: dict[int, int] = {}
        self._delivery = 0
        self._subscription = 0
        self._snapshot: str | None = None

    def note(self, what: str, about: Any) -> None:
        self.facts.append(Fact(next(self.numbers), what, about))

    # Numbers: none of these is given back when a transaction rolls back

    def next_position(self) -> int:
        self._position += 1
        self._drawn[self._position] = next(self.numbers)
        return self._position

    def drawn_at(self, position: int) -> int:
        return self._drawn.pop(position)

    def next_delivery(self) -> int:
        self._delivery += 1
        return self._delivery

    def next_subscription(self) -> int:
        self._subscription += 1
        return self._subscription

    def current_incarnation(self) -> int:
        """The incarnation, made where a crash has emptied its table."""
        if self.incarnation is None:
            self.incarnation = self.restarts
        return self.incarnation

    # Snapshots

    def snapshot(self) -> str:
        """``pg_current_snapshot()``. Its xmax follows the latest transaction that *ended*, not the latest begun."""
        if self._snapshot is None:
            xmax = self._latest_completed + 1
            running = tuple(sorted(txid for txid in self._running if txid < xmax))
            self._snapshot = str(Snapshot(running[0] if running else xmax, xmax, running))
        return self._snapshot

    def window(self, done: Snapshot, seen: Snapshot) -> Iterator[LoggedEvent]:
        """The events that *seen* shows and *done* does not, by the two ranges of the index on txid."""
        log = self.log
        for entry in log[bisect_left(log, done.xmax, key=_txid) :]:
            if seen.shows(entry.txid):
                yield entry
        for late in done.running:
            if seen.shows(late):
                first = bisect_left(log, late, key=_txid)
                while first < len(log) and log[first].txid == late:
                    yield log[first]
                    first += 1

    def committed(self) -> Iterator[LoggedEvent]:
        """What a statement that begins now sees of the log."""
        return (entry for entry in self.log if entry.txid not in self._running)

    def find(self, event_id: bytes) -> LoggedEvent | None:
        """The committed event of that id."""
        entry = self.by_id.get(event_id)
        return None if entry is None or entry.txid in self._running else entry

    # Transactions

    def begin(self, client: object = None) -> Transaction:
        self._begun += 1
        transaction = self.open[self._begun] = Transaction(self, self._begun, client)
        return transaction

    def is_locked(self, keys: Iterable[object]) -> bool:
        """Whether another transaction holds one of them. One that stands idle for too long is ended for it."""
        found = False
        for key in keys:
            if (holder := self._locks.get(key)) is not None:
                if holder.idle_until is not None and holder.idle_until < self.clock():
                    holder.roll_back()
                else:
                    found = True
        return found

    def is_lease_locked(self, slice_: Slice) -> bool:
        return self._lease_locks.get(slice_, 0) > 0

    def disconnect(self, client: object) -> None:
        """A process is gone: the server rolls back what it had open."""
        for transaction in [one for one in self.open.values() if one.client is client]:
            transaction.roll_back()

    def crash(self) -> None:
        """All that was open never was. The ids of transactions that reached no disk are handed out again."""
        for transaction in list(self.open.values()):
            transaction.roll_back()
        self.up = False
        self.restarts += 1
        self.incarnation = None
        if self._next_txid > self._flushed_txid + 1:
            self.note("handed out again", self._flushed_txid + 1)
        self._next_txid = self._flushed_txid + 1
        self._latest_completed = self._flushed_txid
        self._snapshot = None
        self.note("server crash", self._next_txid)

    def flush(self) -> None:
        """A statement in autocommit that wrote something: its id is on the disk.

        Only those that keep a snapshot need it, or a crash would hand out ids that the tables speak of. The others
        are left out on purpose: in reality, too, ids are handed out again where nothing else has written meanwhile.
        """
        with self.begin() as transaction:
            transaction.commit()

    def assign(self, transaction: Transaction) -> int:
        txid = self._next_txid
        self._next_txid += 1
        self._running[txid] = transaction
        return txid

    def insert(self, entry: LoggedEvent) -> None:
        insort(self.log, entry, key=_txid)
        self.by_id[entry.row.id] = entry

    def ended(self, transaction: Transaction, *, committed: bool) -> None:
        self.open.pop(transaction.number, None)
        for key in transaction.locks:
            self._locks.pop(key, None)
        for slice_ in transaction.fenced:
            self._lease_locks[slice_] -= 1
        if (txid := transaction.txid) is not None:
            del self._running[txid]
            self._latest_completed = max(self._latest_completed, txid)
            self._snapshot = None
            if committed:
                # The commit's flush takes along what others had written before it, whatever becomes of them.
                self._flushed_txid = max(self._flushed_txid, txid, *self._written())
            else:
                self._forget(transaction)

    def _written(self) -> Iterator[int]:
        return (txid for txid, one in self._running.items() if one.rows)

    def _forget(self, transaction: Transaction) -> None:
        for entry in transaction.rows:
            self.log.remove(entry)
            del self.by_id[entry.row.id]

    def lock(self, transaction: Transaction, keys: Iterable[object]) -> None:
        for key in keys:
            assert key not in self._locks, key
            self._locks[key] = transaction
            transaction.locks.append(key)

    def lock_lease(self, slice_: Slice) -> None:
        self._lease_locks[slice_] = self._lease_locks.get(slice_, 0) + 1


class Transaction:
    """An open transaction. Its end without `commit` is a rollback."""

    __slots__ = ("client", "fenced", "idle_until", "is_open", "locks", "number", "rows", "server", "txid", "writes")

    def __init__(self, server: Server, number: int, client: object) -> None:
        self.server, self.number, self.client = server, number, client
        self.txid: int | None = None
        self.is_open = True
        self.rows: list[LoggedEvent] = []
        self.locks: list[object] = []
        self.fenced: list[Slice] = []
        self.writes: list[Callable[[], None]] = []
        self.idle_until: float | None = None

    def id(self) -> int:
        """``pg_current_xact_id()``: given at the first need, or early by somebody who asks."""
        if self.txid is None:
            self.txid = self.server.assign(self)
        return self.txid

    def fence(self, epochs: Mapping[Slice, int]) -> set[Slice]:
        """Lock, for key share, the leases whose epoch still stands and that are somebody's; returns them."""
        held = [one for one, epoch in epochs.items() if self.server.tables.is_held(one, epoch)]
        for slice_ in held:
            self.server.lock_lease(slice_)
        self.fenced += held
        return set(held)

    def insert(self, row: Row) -> None:
        entry = LoggedEvent(self.id(), row, self.server.clock(), self.server.drawn_at(row.position))
        self.rows.append(entry)
        self.server.insert(entry)

    def write(self, change: Callable[[], None]) -> None:
        """Do *change* at the commit."""
        self.writes.append(change)

    def commit(self) -> None:
        if not self.is_open:
            raise StoreUnavailable("simulated: the server has ended the transaction")
        self.id()  # what writes has an id, and its flush takes the ids before it along
        self.is_open = False
        for change in self.writes:
            change()
        for entry in self.rows:
            self.server.note("event", entry)
        self.server.ended(self, committed=True)

    def roll_back(self) -> None:
        if self.is_open:
            self.is_open = False
            for entry in self.rows:
                self.server.note("rolled back", entry)
            self.server.ended(self, committed=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.roll_back()


UNSETTLED = frozenset({State.PENDING, State.RETRYING, State.RUNNING})


def _txid(entry: LoggedEvent) -> int:
    return entry.txid
