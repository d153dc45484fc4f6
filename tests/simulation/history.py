"""What the processes of a run have done and seen: publishes, and calls of handlers."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.event import NewEvent
    from holdfast.stores.values import Slice
    from tests.simulation.loop import Process


@dataclass(slots=True)
class Publish:
    """One event that somebody wanted to publish.

    Attributes:
        lineage: The process, its restarts included: they share a spool.
        how: "bus", "tx" or "sql".
        outcome: "ok" (returned), "unknown" (an error after which it may exist), "failed" (an error that promises
            that it does not), "rolled back"; None while it is under way, and for ever where its process was killed.
    """

    event: NewEvent
    lineage: str
    how: str
    invoked: int
    returned: int | None = None
    outcome: str | None = None
    process: Process | None = None

    @property
    def is_under_way(self) -> bool:
        return self.outcome is None and self.process is not None and self.process.alive


@dataclass(slots=True, eq=False)
class Call:
    """One call of a handler with one event; a batch is a call for each, with the same ``batch``.

    Attributes:
        live: At its start the server knew the lease under this epoch, and it had not run out.
        ended: None while it runs, and for ever where its process was killed.
        outcome: "ok", or the name of the error.
    """

    process: Process
    subscription: str
    event_id: bytes
    key: tuple[str, str] | None
    slice: Slice
    epoch: int
    attempt: int
    is_replay: bool
    live: bool
    batch: int
    started: int
    ended: int | None = None
    outcome: str | None = None


@dataclass(slots=True)
class History:
    """Everything in the order of its number; the server counts with the same numbers."""

    numbers: Iterator[int] = field(default_factory=count)
    publishes: dict[bytes, Publish] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    poisonings: list[tuple[str, bytes]] = field(default_factory=list)
    """(subscription, event) of each time that an event killed its process."""

    def now(self) -> int:
        return next(self.numbers)

    def invoke(self, event: NewEvent, lineage: str, how: str, process: Process | None = None) -> Publish:
        publish = self.publishes[event.id.bytes] = Publish(event, lineage, how, self.now(), process=process)
        return publish

    def ended(self, publish: Publish, outcome: str) -> None:
        publish.returned, publish.outcome = self.now(), outcome

    def end(self, calls: list[Call], outcome: str) -> None:
        number = self.now()
        for call in calls:
            call.ended, call.outcome = number, outcome
