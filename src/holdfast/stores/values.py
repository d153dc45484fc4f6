"""What the engine and a store tell each other: cursors, leases, deliveries, outcomes. Plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from uuid import UUID

    from holdfast.event import NewEvent, Row


KEY_SECONDS = 5.0
"""Seconds for which a process may go on using a data key without asking for it again; who erases waits for longer."""


BehindRetention = Literal["hold", "archive", "drop"]
"""What becomes of events that a subscription has not handled when retention comes to them."""


class Slice(NamedTuple):
    """One partition of one subscription: the unit that is leased."""

    subscription: int
    partition: int


class Cursor(NamedTuple):
    """How far a partition has got; see the module's text. ``position`` is the first one not settled."""

    done: str
    open: str | None = None
    position: int = 0


class Place(NamedTuple):
    """
    Where a partition stands.

    Attributes:
        cursor: How far it has got with the events of all tenants that are not deferred.
        deferred: Tenants whose events wait or catch up, and how far it has got with theirs; sorted.
    """

    cursor: Cursor
    deferred: tuple[tuple[str, Cursor], ...] = ()


class Declaration(NamedTuple):
    """A subscription as the program declares it, validated.

    ``start`` is ``"now"``, ``"beginning"``, an aware datetime (from the first event that occurred then or later),
    or the id of an event (from it on, it included). It counts only at the first registration of the name.
    """

    name: str
    patterns: tuple[str, ...]
    partitions: int = 8
    ordering: Literal["key", "none"] = "key"
    on_dead: Literal["continue", "hold"] = "continue"
    replayable: bool = True
    start: Literal["now", "beginning"] | datetime | UUID = "now"
    behind_retention: BehindRetention = "hold"


class Subscription(NamedTuple):
    """A subscription as the store knows it. The latest registration of a name wins; ``concurrency`` is an operator's."""

    id: int
    name: str
    patterns: tuple[str, ...]
    partitions: int
    ordering: Literal["key", "none"]
    on_dead: Literal["continue", "hold"]
    replayable: bool
    paused: bool
    paused_tenants: frozenset[str] = frozenset()
    concurrency: int | None = None
    behind_retention: BehindRetention = "hold"


class Appended(Enum):
    """What became of one event that was to be appended."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same id with the same content is there already
    CONFLICT = "conflict"  # the same id with other content is there: not stored


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """
    Who a worker process is. ``boot_id``, ``pid`` and ``pid_started`` tell a dead process on the same host.
    ``tripped``: those of its subscriptions whose breaker is not closed. ``retention``: seconds for which it keeps
    events, infinity for ever; it names ``retention_warning`` seconds before who will have to let go. A roster leaves
    these three out.
    """

    id: UUID
    host: str
    boot_id: str
    pid: int
    pid_started: str
    version: str
    subscriptions: tuple[int, ...]
    draining: bool = False
    tripped: tuple[int, ...] = ()
    retention: float | None = None
    retention_warning: float = 0.0


class LeaseState(NamedTuple):
    """One row of the lease table as seen at a heartbeat. ``free``: nobody's, or expired."""

    slice: Slice
    owner: UUID | None
    free: bool


@dataclass(frozen=True, slots=True)
class Roster:
    """Answer to a heartbeat: the workers whose own heartbeat is younger than the lease time, and the leases."""

    workers: tuple[WorkerInfo, ...]
    leases: tuple[LeaseState, ...]


class Lease(NamedTuple):
    """A partition acquired by this worker.

    Attributes:
        clean: The cursor is exact: nothing beyond it was ever handled.
        lost: The owner before vanished without goodbye: what it may have had in hand needs recovery.
        crashes: How often in a row, this time included, an owner vanished before it went fast again.
        deferred: As in `Place`; where the lease is clean, these are exact, too.
    """

    slice: Slice
    epoch: int
    cursor: Cursor
    clean: bool
    lost: bool
    crashes: int
    deferred: tuple[tuple[str, Cursor], ...] = ()


class Page(NamedTuple):
    """A part of a window.

    Attributes:
        rows: Events in position order; those outside the window are left out.
        cursor: Where reading goes on; ``cursor.open`` is None once the window is exhausted.
        horizon: The ``open`` of this window.
        generation: Grows whenever somebody registers, pauses, replays, retries or discards: reload then.
        incarnation: Of the server, whose horizons are worth nothing in another one; None where that cannot happen.
    """

    rows: Sequence[Row]
    cursor: Cursor
    horizon: str
    generation: int
    incarnation: str | None = None


class State(StrEnum):
    """State of a delivery row. Unsettled: the first three."""

    PENDING = "pending"  # held behind its key, replayed, or handed back
    RETRYING = "retrying"  # failed or put off; runs again when due
    RUNNING = "running"  # in a worker's hands; at a take-over a suspect
    DEAD = "dead"
    DISCARDED = "discarded"


class Due(NamedTuple):
    """A delivery row in the hands of its owner, ``running``.

    Attributes:
        claim: How often it was taken; what is written about it carries this number.
        attempts: Failed or lost attempts so far, of this round.
        put_offs: Times a handler raised Retry.
        handled: There is a receipt already, and it is not a replay: finish it without running.
        lost: The latest attempt has no record, because the worker vanished in it (suspects only).
        behind: An earlier delivery of its key waits, or is dead and held (suspects only).
    """

    delivery: int
    slice: Slice
    row: Row
    claim: int
    attempts: int
    put_offs: int
    is_replay: bool
    handled: bool = False
    lost: bool = False
    behind: bool = False


class Subject(NamedTuple):
    """Whose payloads share a data key; of events without a key, those of the tenant."""

    tenant_id: str
    key: str | None


class SubjectKey(NamedTuple):
    """
    A data key as the store keeps it.

    Attributes:
        master: Name of the master key that it is wrapped with.
        wrapped: None: erased.
        retired: It is about to be erased: no new payload may be encrypted with it.
    """

    id: UUID
    tenant_id: str
    key: str | None
    master: str
    wrapped: bytes | None
    retired: bool = False

    @property
    def subject(self) -> Subject:
        return Subject(self.tenant_id, self.key)

    @property
    def is_in_use(self) -> bool:
        return self.wrapped is not None and not self.retired


class Claim(NamedTuple):
    """
    Deliveries that are due now, and seconds until the next retry falls due (None: there is none).

    ``generation``: at least as late as whatever made these rows; see `Page`.
    """

    due: Sequence[Due]
    next_in: float | None
    generation: int


class Receipt(NamedTuple):
    """A handler completed an event. ``replaces``: a replay, which takes the place of the receipt before."""

    slice: Slice
    event_id: bytes
    day: int
    attempts: int = 1
    replaces: bool = False


class Receipts(NamedTuple):
    """What the receipts of many events have in common, so that one statement writes them."""

    subscription: int
    day: int
    attempts: int = 1


class Parked(NamedTuple):
    """An event that leaves the fast path and becomes a delivery row. ``due_in`` seconds from the commit."""

    slice: Slice
    row: Row
    state: State
    attempts: int = 0
    put_offs: int = 0
    due_in: float = 0.0
    reason: str | None = None


class Revised(NamedTuple):
    """A delivery row that changes state. Ignored when the row is no longer ``running`` under that claim."""

    slice: Slice
    delivery: int
    claim: int
    state: State
    attempts: int
    put_offs: int = 0
    due_in: float = 0.0
    reason: str | None = None


class Finished(NamedTuple):
    """A delivery row that is done: it is deleted, its receipt stands elsewhere in the same settlement."""

    slice: Slice
    delivery: int
    claim: int


class Attempt(NamedTuple):
    """The record of one attempt that did not succeed; kept until retention. Times are aware UTC datetimes."""

    slice: Slice
    event_id: bytes
    day: int
    attempt: int
    outcome: Literal["failed", "timeout", "rejected", "put off", "worker lost", "unreadable"]
    error: str  # type of the error
    message: str
    traceback: str | None
    seconds: float  # how long it ran


class Advance(NamedTuple):
    """
    A place to be written, unless the server has another incarnation than the one that it was read in.

    Attributes:
        cursor: What is settled of everything.
        place: Where tenants are deferred, how far each part has got. Void once the cursor is another one.
    """

    slice: Slice
    cursor: Cursor
    incarnation: str | None = None
    place: Place | None = None


@dataclass(slots=True)
class Settlement:
    """Outcomes of many events for one transaction. ``epochs`` fences all but plain receipts."""

    epochs: dict[Slice, int] = field(default_factory=dict)
    receipts: dict[Receipts, list[bytes]] = field(default_factory=dict)  # ids of events
    replaced: list[Receipt] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    revised: list[Revised] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    advances: list[Advance] = field(default_factory=list)
    events: list[tuple[Slice, NewEvent]] = field(default_factory=list)  # published if the slice's fence holds

    def add(self, receipt: Receipt) -> None:
        """One more receipt, among those alike."""
        if receipt.replaces:
            self.replaced.append(receipt)
        else:
            alike = Receipts(receipt.slice.subscription, receipt.day, receipt.attempts)
            self.receipts.setdefault(alike, []).append(receipt.event_id)

    def forget(self, of: Slice) -> None:
        """Leave out what may be written under the epoch of *of* only: another epoch has begun."""
        self.parked = [one for one in self.parked if one.slice != of]
        self.revised = [one for one in self.revised if one.slice != of]
        self.finished = [one for one in self.finished if one.slice != of]
        self.attempts = [one for one in self.attempts if one.slice != of]
        self.advances = [one for one in self.advances if one.slice != of]
        self.events = [(one, event) for one, event in self.events if one != of]

    def before(self, later: Settlement) -> Settlement:
        """This settlement and a later one, as one; without receipts, which are made when it is written."""
        return Settlement(
            self.epochs | later.epochs, {}, [], self.parked + later.parked, self.revised + later.revised,
            self.finished + later.finished, self.attempts + later.attempts, self.advances + later.advances,
            self.events + later.events,
        )  # fmt: skip


class Released(NamedTuple):
    """A lease given back.

    Attributes:
        exact: Nothing beyond the cursor was handled.
        incarnation: As in `Advance`; where it is another one now, the cursor stays and is not exact.
        lost: What the owner before this one may have had in hand is not finished: the next one must recover it.
        place: As in `Advance`; ``exact`` is about all its cursors then.
    """

    slice: Slice
    epoch: int
    cursor: Cursor
    exact: bool
    lost: bool = False
    incarnation: str | None = None
    place: Place | None = None


class Maintenance(NamedTuple):
    """
    What `Store.maintain` did. ``dropped``: events, of a large day about so many. ``blocking``: subscriptions that keep
    old events from being dropped.
    """

    dropped: int
    blocking: tuple[str, ...]


class Laggard(NamedTuple):
    """
    A subscription that lets go of what it left behind in a part of the log that nobody else needs.

    Attributes:
        day: Of the log, on PostgreSQL; None where the log has no days.
        shown: A horizon: of the part, what it shows.
        position: Up to here it has let go, in the order of positions.
        events: Of how many.
        first_position: Of the first of these.
        last_position: Of the last of them.
    """

    subscription: int
    name: str
    choice: BehindRetention
    day: date | None
    shown: str
    position: int = 0
    events: int = 0
    first_position: int | None = None
    last_position: int | None = None


class LeftBehind(NamedTuple):
    """
    A page of what a laggard left behind.

    Attributes:
        rows: Events that it has not settled, in position order.
        deliveries: Those of its delivery rows that stand for some of them.
        position: Up to here the log was looked at; None: to the end of the laggard's part.
    """

    rows: Sequence[Row]
    deliveries: Sequence[int]
    position: int | None


LAG_COUNTED_MAX = 1_000
"""Events up to which the lag of a subscription is counted for its chart, once a minute."""


class Sampled(NamedTuple):
    """What a worker has counted for a subscription since its sample before; see `holdfast.counts.SubscriptionCounts`."""

    subscription: int
    delivered: int
    failed: int
    retried: int
    dead: int
    durations: tuple[int, ...]  # how many calls of the handler lay within each of `holdfast.counts.SECONDS`
