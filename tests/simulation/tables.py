"""The rows of the simulated database. Times are seconds since 1970 by the server's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from holdfast.event import Row
    from holdfast.stores.values import Attempt, Slice, State, Subscription, WorkerInfo


@dataclass(slots=True)
class LoggedEvent:
    """A row of the log. Not yet committed rows lie here too: the snapshot decides who sees them."""

    txid: int
    row: Row
    stored_at: float
    drawn: int
    """When its position was drawn, by the count of what happens in the run."""


@dataclass(slots=True)
class KnownSubscription:
    record: Subscription
    snapshot: str
    """What its registration saw."""
    position: int | None
    """The first position wanted of what the registration saw; None: nothing of it."""


@dataclass(slots=True)
class LeaseRow:
    owner: UUID | None = None
    until: float = 0.0
    ttl: float = 0.0
    epoch: int = 0
    clean: bool = True
    crashes: int = 0


@dataclass(slots=True)
class DeliveryRow:
    id: int
    slice: Slice
    row: Row
    state: State
    attempts: int = 0
    put_offs: int = 0
    due_at: float = 0.0
    replay: int | None = None
    reason: str | None = None
    claim: int = 0

    @property
    def key(self) -> tuple[int, str, str] | None:
        """(subscription, tenant, key) where the event has a key."""
        return None if self.row.key is None else (self.slice.subscription, self.row.tenant_id, self.row.key)


@dataclass(slots=True)
class ReceiptRow:
    attempts: int
    processed_at: float


@dataclass(slots=True)
class AttemptRow:
    attempt: Attempt
    finished_at: float


@dataclass(slots=True)
class WorkerRow:
    info: WorkerInfo
    heartbeat_at: float


@dataclass(slots=True)
class StoredSnapshot:
    at: float
    snapshot: str
