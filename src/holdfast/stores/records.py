"""What an inspector shows. Times are aware UTC datetimes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID  # noqa: TC003 - the annotations are read when results become JSON

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.health import Verdict

Level = Literal["ok", "note", "problem"]

AsKept = Literal["as kept"]

RETENTION_SECONDS = 30 * 86_400.0
"""Retention of a bus that says nothing else."""

BACKLOG_MAX = 1_000
"""Events up to which a backlog is counted; beyond that it is estimated, from a sample of the rest."""


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """A subscription as it is registered. ``concurrency``: what an operator said of it; None: as declared."""

    id: int
    name: str
    patterns: tuple[str, ...]
    partitions: int
    ordering: str
    on_dead: str
    replayable: bool
    paused_at: datetime | None
    paused_by: str | None
    paused_tenants: tuple[str, ...]
    concurrency: int | None
    behind_retention: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """How a subscription is doing.

    Attributes:
        backlog: Events in the log that it has still to see; about, where `backlog_estimated`.
        lag: Events not settled: the backlog and the delivery rows that are pending, retrying or running.
        lag_seconds: How long the oldest of them has waited, but for those of paused tenants; None if there is none.
        waiting_seconds: The same, of those only that a worker could take, or has in hand, now.
        idle_seconds: Since a receipt, a cursor or a delivery row of it last moved; None if nothing ever did.
        owned: Partitions under a live lease.
        workers: Live workers that run it. ``tripped``: those of them whose breaker holds it up.
        near_retention: It does not hold, and retention comes near to what it has not handled.
        let_go: Events that it has let go of within a day.
    """

    id: int
    name: str
    paused: bool
    backlog: int
    backlog_estimated: bool
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
    tripped: int
    blocks_retention: bool
    behind_retention: str = "hold"
    near_retention: bool = False
    let_go: int = 0


@dataclass(frozen=True, slots=True)
class SpoolFolder:
    """This machine's spool of a store, as it lies on the disk.

    Attributes:
        waiting_bytes: Events that the store has not taken yet.
        refused: Events in ``quarantine.jsonl``, which the store will never take as they are.
        damaged: Files ``corrupt-*.bin``: bytes that are no event any more.
    """

    path: str
    waiting_bytes: int = 0
    refused: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """All subscriptions and what it comes to. `spool`: this machine's, where there is one."""

    verdict: Verdict
    subscriptions: tuple[SubscriptionStatus, ...]
    workers: int
    spool: SpoolFolder | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What all workers did for a subscription in the minute that ends at `at`.

    Attributes:
        delivered: Events whose handler returned.
        failed: Attempts that did not succeed.
        retried: Those of them after which the event is tried again.
        dead: Events that were given up.
        p50_seconds: What half of the handler's calls did not exceed; None where it was not called.
        p95_seconds: What 95 of 100 did not exceed.
    """

    at: datetime
    delivered: int
    failed: int
    retried: int
    dead: int
    p50_seconds: float | None
    p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class PublishedSample:
    """
    How many events came into the log in the seconds up to `at`: one minute, and longer where no worker ran. On
    PostgreSQL those that transactions took back, or that were there already, are counted too.
    """

    at: datetime
    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LagSample:
    """How far a subscription was behind at `at`. `events`: not settled; `seconds`: how long the oldest had waited, if any."""

    at: datetime
    events: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Samples:
    """The last hours, oldest first: of the whole store, and by name of subscription; minutes without anything are left out."""

    published: tuple[PublishedSample, ...]
    subscriptions: dict[str, tuple[Sample, ...]]
    lags: dict[str, tuple[LagSample, ...]]


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
    """
    Events, newest first: by their place in the log, or, where they were found by a search index, by `occurred_at`.

    Attributes:
        next_before: Goes into the next call's *before*; None when there are no more.
        looked: Events that were looked at.
        back_to: `occurred_at` of the last of them; None if there was none.
        found_by: The way through the log: log, id, delivery (rows of what failed), or a search index.
        would_help: The search index that would have found them at once, where it is missing and there may be more.
    """

    events: tuple[EventRecord, ...]
    next_before: int | None
    looked: int = 0
    back_to: datetime | None = None
    found_by: str = "log"
    would_help: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """
    How many events there are, or match.

    Attributes:
        kind: exact; estimate, by the statistics of the database; at least, where counting stopped.
    """

    events: int
    kind: Literal["exact", "estimate", "at least"]


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
    """An event and one subscription.

    Attributes:
        state: processed, pending, retrying, running, dead or discarded.
        next_try_at: None unless it is pending or retrying, or while it is held.
        held_behind: The event of its key that has to be settled before it is tried.
    """

    subscription: str
    state: str
    attempts: int
    put_offs: int
    next_try_at: datetime | None
    processed_at: datetime | None
    reason: str | None
    is_replay: bool
    held_behind: UUID | None
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
class CausationNode:
    """An event of a tree. `cause`: the id in its header ``causation_id``; what is no node is stored no more."""

    event: EventRecord
    cause: str | None


@dataclass(frozen=True, slots=True)
class CausationTree:
    """
    What caused an event, and what it caused.

    Attributes:
        nodes: Causes before effects; the event itself is among them.
        complete: All effects are here; else there were more than asked for, or more events to look at.
        would_help: The search index that would lead to the others.
    """

    event_id: UUID
    nodes: tuple[CausationNode, ...]
    complete: bool
    would_help: str | None = None


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
class DeadGroup:
    """
    Dead letters of one subscription that died of the same: see `holdfast.fingerprint`.

    Attributes:
        fingerprint: Goes into `DeadFilter.fingerprint`.
        error: Type of the exception; empty where none is on record.
        message: What their messages have in common.
        frame: ``file.py: function`` that raised, where it is known.
        first_seen: When the first of them died.
        sample: The event of the latest one.
    """

    subscription: str
    fingerprint: str
    error: str
    message: str
    frame: str | None
    count: int
    first_seen: datetime
    last_seen: datetime
    sample: UUID


@dataclass(frozen=True, slots=True)
class DeadGroups:
    """Groups, the largest first. `looked`: dead letters that were looked at, the latest; `complete`: those are all."""

    groups: tuple[DeadGroup, ...]
    looked: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Blocked:
    """A key that waits: *held* deliveries stand behind the event *event_id*; `next_try_at`: None if it is dead."""

    subscription: str
    tenant_id: str
    key: str
    event_id: UUID
    name: str
    state: str
    reason: str | None
    next_try_at: datetime | None
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
    """
    A replay. `done` of `total` events have been handed to the workers; `rate` in events per second. `stopped`: it was
    cancelled, or nobody has advanced it for a minute, and can be taken up again.
    """

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
    stopped: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """What `Operator.after_restore` did: deliveries that wait again, and events that are kept."""

    deliveries: int
    events: int


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that doctor looked at. `level`: ok; note, worth knowing; problem, needs `fix`."""

    name: str
    value: str
    level: Level = "ok"
    fix: str = ""
