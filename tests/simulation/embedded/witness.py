"""Who was there when the tables changed: temporary triggers tell it what happens, and a commit makes facts of it.

A connection of its own for the checker would see what there is, but not who wrote it, nor between what other things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from holdfast.stores.sqlite.rows import id_bytes, row_of
from holdfast.stores.values import Receipt, Slice, State
from tests.simulation.loop import PROCESS
from tests.simulation.store_leases import Acquired
from tests.simulation.tables import LoggedEvent

if TYPE_CHECKING:
    from tests.simulation.loop import Process
    from tests.simulation.server import Server

_DELIVERY = "{0}.subscription, {0}.partition, {0}.event_id, {0}.state, {0}.attempts, {0}.replay"
TRIGGERS = (
    """after insert on event_log begin select saw('event', new.position, new.id, new.occurred_at, new.tenant_id,
        new.event_name, new.event_key, new.payload, new.headers); end""",
    "after insert on subscriptions begin select saw('subscription', new.id, new.name); end",
    "after insert on receipts begin select saw('receipt', new.subscription, new.event_id, new.attempts); end",
    "after update on receipts begin select saw('receipt', new.subscription, new.event_id, new.attempts); end",
    """after update on leases when new.epoch > old.epoch begin select saw('lease', new.subscription, new.partition,
        new.epoch, new.owner, old.owner is not null); end""",
    "after update on cursors begin select saw('cursor', new.subscription, new.partition, new.deferred is not null); end",
    f"after insert on deliveries begin select saw('delivery', {_DELIVERY.format('new')}, null, 0); end",
    f"""after update on deliveries when old.state <> new.state or old.attempts <> new.attempts
        begin select saw('delivery', {_DELIVERY.format("new")}, old.replay,
        new.attempts > old.attempts and new.claim > old.claim); end""",
    f"after delete on deliveries begin select saw('delivery', {_DELIVERY.format('old')}, old.replay, 0); end",
)
"""Each calls ``saw``, the witness's function, inside of the transaction that changes the table."""


Seen: TypeAlias = "list[tuple[Process | None, int, str, tuple[Any, ...]]]"
"""What a transaction has changed, by whom and when."""


class Witness:
    """
    Notes for the checker what the simulated server notes itself. The tables at the end are the truth beside it.

    Args:
        server: Keeps the facts.
    """

    def __init__(self, server: Server) -> None:
        self._server, self.note = server, server.note
        self._transactions = 1
        self._names: dict[int, str] = {}
        self._epochs: dict[Slice, int] = {}
        self._given: dict[tuple[Process | None, Slice], int] = {}

    def saw(self, seen: Seen, what: str, *columns: Any) -> None:
        """Called by the triggers."""
        seen.append((PROCESS.get(), next(self._server.numbers), what, columns))

    def committed(self, seen: Seen) -> None:
        for process, number, what, columns in seen:
            getattr(self, f"_{what}")(process, number, *columns)
        self._transactions += bool(seen)

    def _event(self, _: Process | None, number: int, position: int, *columns: str | None) -> None:
        row = row_of(position, *(None if one is None else one.encode() for one in columns))  # type: ignore[arg-type]
        self.note("event", LoggedEvent(self._transactions, row, self._server.clock(), number))

    def _subscription(self, _: Process | None, __: int, subscription: int, name: str) -> None:
        self._names[subscription] = name

    def _receipt(self, _: Process | None, __: int, subscription: int, event_id: str, attempts: int) -> None:
        self.note("receipt", Receipt(Slice(subscription, 0), id_bytes(event_id), 0, attempts))

    def _lease(
        self, process: Process | None, _: int, subscription: int, partition: int, epoch: int, owner: str, lost: int
    ) -> None:
        slice_ = Slice(subscription, partition)
        self._epochs[slice_] = self._given[process, slice_] = epoch
        self.note("acquired", Acquired(slice_, epoch, UUID(owner), bool(lost), expired=False))

    def _cursor(self, process: Process | None, _: int, subscription: int, partition: int, is_deferring: int) -> None:
        slice_ = Slice(subscription, partition)
        self.note("cursor", (slice_, *self._fence(process, slice_)))
        if is_deferring:
            self.note("deferred", slice_)

    def _delivery(
        self, process: Process | None, _: int, subscription: int, partition: int, event: str, state: str, attempts: int,
        replay: int | None, replay_before: int | None, is_counted: int,
    ) -> None:  # fmt: skip
        slice_, event_id = Slice(subscription, partition), id_bytes(event)
        if process is None:  # an operator, who needs no lease
            what = "retried" if replay == replay_before else "replayed"
            self.note(what, (self._names[subscription], event_id))
        else:
            self.note("delivery", (slice_, event_id, State(state), attempts, *self._fence(process, slice_)))
            if is_counted:
                self.note("counted", (process, subscription, event_id))

    def _fence(self, process: Process | None, slice_: Slice) -> tuple[int, int]:
        """The latest epoch that this process was given, and the one that stands."""
        return self._given.get((process, slice_), 0), self._epochs.get(slice_, 0)
