"""Reading for people, and the operator's actions: what the command line and the dashboard stand on.

`Inspector` looks and never writes, `Operator` acts, and every action, a refused one too, leaves an audit row. Both
go over a connection of their own, so that looking never stands in the way of workers. Times are aware UTC datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID  # noqa: TC003 - the annotations are read when results become JSON

from holdfast.patterns import check_pattern

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from holdfast.health import Verdict
    from holdfast.stores.base import Store

RETENTION_SECONDS = 30 * 86_400.0
"""Retention of a bus that says nothing else."""

BACKLOG_MAX = 100_000
"""Events up to which a backlog is counted; beyond that it is "at least" so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are meant; what is None is not asked for.

    Attributes:
        name: A name or a pattern of names.
        since: From this `occurred_at` on.
        until: Before this `occurred_at`.
    """

    event_id: UUID | None = None
    name: str | None = None
    tenant_id: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_pattern(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadFilter(EventFilter):
    """Which deliveries are meant. `since` and `until` mean the time of the last change: when it died.

    Attributes:
        error: Part of the reason, or of the last attempt's error or message; upper or lower case is all one.
    """

    subscription: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFilter(EventFilter):
    """Which events to deliver again: those of `EventFilter`, from *first_id* to *last_id*, both included."""

    first_id: UUID | None = None
    last_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """A subscription as it is registered."""

    id: int
    name: str
    patterns: tuple[str, ...]
    partitions: int
    ordering: str
    on_dead: str
    replayable: bool
    paused_at: datetime | None
    paused_by: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """How a subscription is doing.

    Attributes:
        backlog: Events in the log that it has still to see; a lower bound where `backlog_at_least`.
        lag: Events not settled: the backlog and the delivery rows that are pending, retrying or running.
        lag_seconds: How long the oldest of them has waited; None if there is none.
        waiting_seconds: The same, of those only that a worker could take, or has in hand, now.
        idle_seconds: Since a receipt, a cursor or a delivery row of it last moved; None if nothing ever did.
        owned: Partitions under a live lease.
        workers: Live workers that run it.
    """

    id: int
    name: str
    paused: bool
    backlog: int
    backlog_at_least: bool
    pending: int
    retrying: int
    running: int
    dead: int
    discarded: int
    lag: int
    lag_seconds: float | None
    waiting_seconds: float | None
    idle_seconds: float | None
    owned: int
    free: int
    workers: int
    blocks_retention: bool


@dataclass(frozen=True, slots=True)
class Status:
    """All subscriptions and what it comes to. `spooled`: bytes in this machine's spool."""

    verdict: Verdict
    subscriptions: tuple[SubscriptionStatus, ...]
    workers: int
    spooled: int


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event in a list. `status`, `retries` and `processed_at` as in the view ``event_store``."""

    position: int
    id: UUID
    tenant_id: str
    name: str
    key: str | None
    status: str
    retries: int
    occurred_at: datetime
    processed_at: datetime | None
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, newest first. `next_before` goes into the next call's *before*; None when there are no more."""

    events: tuple[EventRecord, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt that did not succeed. `seconds`: how long it ran."""

    attempt: int
    outcome: str
    error: str
    message: str
    traceback: str | None
    seconds: float
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """An event and one subscription. `state`: processed, pending, retrying, running, dead or discarded."""

    subscription: str
    state: str
    attempts: int
    put_offs: int
    next_try_at: datetime | None
    processed_at: datetime | None
    reason: str | None
    is_replay: bool
    paused: bool
    history: tuple[AttemptRecord, ...]


@dataclass(frozen=True, slots=True)
class EventDetail:
    """An event, and what became of it in each subscription. `in_log`: retention has not dropped it yet."""

    id: UUID
    tenant_id: str
    name: str
    key: str | None
    occurred_at: datetime | None
    payload: Any
    headers: Any
    in_log: bool
    deliveries: tuple[DeliveryRecord, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that ended dead. `delivery` goes into the next call's *before*."""

    delivery: int
    subscription: str
    event_id: UUID
    name: str
    tenant_id: str
    key: str | None
    attempts: int
    put_offs: int
    reason: str | None
    error: str | None
    message: str | None
    died_at: datetime
    occurred_at: datetime | None
    payload: Any
    headers: Any


@dataclass(frozen=True, slots=True)
class Blocked:
    """A key that waits: *held* deliveries stand behind the event *event_id*."""

    subscription: str
    tenant_id: str
    key: str
    event_id: UUID
    name: str
    state: str
    reason: str | None
    next_try_at: datetime
    held: int


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker's row. `live`: it owns a live lease, or its heartbeat is less than a minute old."""

    id: UUID
    host: str
    pid: int
    version: str
    subscriptions: tuple[str, ...]
    leases: int
    draining: bool
    live: bool
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A partition: who owns it, and the persisted cursor."""

    subscription: str
    partition: int
    owner: UUID | None
    lease_until: datetime | None
    live: bool
    epoch: int
    clean: bool
    crashes: int
    done: str
    open: str | None
    position: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An operator's action. `count`: what it concerned, in events or delivery rows."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: Any
    count: int | None
    allowed: bool


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A replay. `done` of `total` events have been handed to the workers; `rate` in events per second."""

    id: int
    subscription: str
    filters: Any
    rate: float
    total: int
    done: int
    state: str
    actor: str
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Retention:
    """What retention would drop now. `kept`: older events that a subscription in `blocking` still needs."""

    droppable: int
    kept: int
    blocking: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that doctor looked at. `level`: ok; note, worth knowing; problem, needs `fix`."""

    name: str
    value: str
    level: Literal["ok", "note", "problem"] = "ok"
    fix: str = field(default="")


class Inspector(Protocol):
    """Reading for people. Never writes.

    Every method raises `StoreUnavailable`, `SchemaMismatch` or `PermissionDenied` as the store does.
    """

    async def status(
        self, *, backlog_max: int = BACKLOG_MAX, retention: float | None = RETENTION_SECONDS, spooled: int = 0
    ) -> Status:
        """
        How all subscriptions are doing, with a verdict.

        Args:
            backlog_max: Events up to which each backlog is counted.
            retention: Seconds that events are kept, to tell who keeps older ones from being dropped.
            spooled: Bytes in the local spool, which the store cannot see.

        Cost: per subscription one read of the log beyond its oldest cursor, *backlog_max* events at most.
        """
        ...

    async def events(
        self, filter: EventFilter, *, status: str | None = None, limit: int = 50, before: int | None = None
    ) -> EventPage:
        """
        Events, newest first.

        Cost: walks the log from its newest event, or from *before*, until *limit* matched. With *status* at most
        10,000 events are looked at in one call; a page may then be short, or empty, and still have a next one.
        """
        ...

    async def event(self, event_id: UUID) -> EventDetail:
        """
        One event with its deliveries and all their attempts.

        Raises:
            NotFound: No such event, and no dead letter of it.
        """
        ...

    async def subscriptions(self) -> list[SubscriptionRecord]: ...

    async def dead(self, filter: DeadFilter, *, limit: int = 50, before: int | None = None) -> list[DeadLetter]:
        """Dead letters, the latest parked first."""
        ...

    async def blocked(self, filter: DeadFilter, *, limit: int = 50) -> list[Blocked]:
        """What is held behind what, the longest queue first."""
        ...

    async def workers(self) -> list[WorkerRecord]: ...

    async def leases(self) -> list[LeaseRecord]: ...

    async def audit(self, *, limit: int = 50, before: int | None = None) -> list[AuditRecord]:
        """What operators did, the latest first."""
        ...

    async def replays(self, *, limit: int = 50) -> list[ReplayRecord]: ...

    async def retention_preview(self, seconds: float) -> Retention:
        """What dropping events stored longer than *seconds* ago would do. Cost: reads those events."""
        ...

    async def facts(self) -> list[Fact]:
        """What doctor reports. Works on a store that the engine would refuse, too, as far as it goes."""
        ...

    async def close(self) -> None: ...


class Operator(Protocol):
    """The operator's actions. *actor* is who acts. Running workers take notice at their next read.

    Every method raises `NotFound` where the subscription does not exist, and `StoreError` and its kin.
    """

    async def pause(self, subscription: str, *, actor: str) -> bool:
        """Stop delivering; events go on being stored. False if it was paused already."""
        ...

    async def resume(self, subscription: str, *, actor: str) -> bool:
        """Go on delivering. False if it was not paused."""
        ...

    async def matching(self, filter: DeadFilter, *, held: bool = False) -> int:
        """How many dead deliveries, with *held* pending and retrying ones too, an action would concern."""
        ...

    async def retry_dead(self, filter: DeadFilter, *, actor: str, progress: Callable[[int], None] | None = None) -> int:
        """Give dead deliveries fresh attempts, due now; their history is kept. Returns how many."""
        ...

    async def discard(
        self, filter: DeadFilter, *, actor: str, held: bool = False, progress: Callable[[int], None] | None = None
    ) -> int:
        """Settle dead deliveries, with *held* pending and retrying ones too, without handling. Returns how many."""
        ...

    async def replay_count(self, subscription: str, filter: ReplayFilter) -> int:
        """
        How many events `replay` would deliver again. Cost: walks the range.

        Raises:
            InvalidSubscription: It was declared with ``replayable=False``.
            NotFound: No such subscription, or no event with *first_id* or *last_id*.
        """
        ...

    async def replay(
        self,
        subscription: str,
        filter: ReplayFilter,
        *,
        actor: str,
        rate: float = 1000.0,
        total: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """
        Deliver stored events again, in order, *rate* a second at most. Returns how many.

        Only what the subscription is through with and its patterns match; dead and discarded deliveries start
        afresh, unsettled ones are left alone. Cancelled, it stops after a whole chunk.

        Args:
            total: What `replay_count` said, if that was asked already.

        Raises:
            InvalidSubscription, NotFound: As `replay_count`; nothing was written but the audit row.
        """
        ...

    async def rename(self, subscription: str, new_name: str, *, actor: str, force: bool = False) -> None:
        """
        Raises:
            DuplicateSubscription: The new name is taken.
            BusStateError: Live workers run it; *force* does not care.
        """
        ...

    async def remove(self, subscription: str, *, actor: str, force: bool = False) -> int:
        """
        Forget a subscription with its cursors and deliveries. Returns the number of delivery rows that went.

        Raises:
            BusStateError: Live workers run it; *force* does not care.
        """
        ...

    async def repartition(self, subscription: str, partitions: int, *, actor: str) -> None:
        """
        Change the number of partitions, 1 to 1024. All go on from the oldest cursor and pass over what is settled.

        Raises:
            BusStateError: A live worker holds a lease of it.
        """
        ...

    async def retention_run(self, seconds: float, *, actor: str) -> Retention:
        """Drop events stored longer than *seconds* ago that every subscription is through with."""
        ...


def make_inspector(store: Store) -> tuple[Inspector, Operator]:
    """Inspector and operator of *store*, which need not be open. Close the inspector after use; it closes both."""
    from holdfast.stores.sqlite import SQLiteStore

    if isinstance(store, SQLiteStore):
        from holdfast.stores.sqlite.inspecting import SQLiteInspector
        from holdfast.stores.sqlite.operating import SQLiteOperator

        looking = SQLiteInspector(store)
        return looking, SQLiteOperator(store, looking)
    from holdfast.stores.postgres.inspecting import PostgresInspector
    from holdfast.stores.postgres.operating import PostgresOperator
    from holdfast.stores.postgres.store import PostgresStore

    if not isinstance(store, PostgresStore):
        raise TypeError(f"no inspector for {type(store).__qualname__}")
    inspector = PostgresInspector(store)
    return inspector, PostgresOperator(store, inspector)
