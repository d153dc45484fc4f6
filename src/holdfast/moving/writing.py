"""What is written where a store is moved to, each action in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from holdfast.errors import BusStateError, ConfigurationError
from holdfast.stores.columns import as_json
from holdfast.stores.refusing import count_in_audit, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.moving.reading import Contents
    from holdfast.moving.rows import Standing, TenantPause
    from holdfast.stores.operating import Operating
    from holdfast.stores.refusing import Action

ACTION = "move in"
_LATEST: Mapping[str, Any] = {
    "action": ACTION, "allowed": True, "before": None, "actor": None, "target": None, "since": None, "until": None,
    "tenant_id": None, "limit": 1,
}  # fmt: skip


class Begun(NamedTuple):
    """A move under way: the number of its audit row, and what tells whether somebody has worked there since."""

    audit: int
    epochs: int


class Origin(NamedTuple):
    """Where events come from. ``epochs``: what tells whether somebody has worked there since."""

    identity: str
    epochs: int
    title: str


def begin(origin: Origin, title: str, actor: str) -> Action[Begun]:
    """
    Begin to move into a store that has no events, or go on where a move from the same store has come.

    Raises:
        ConfigurationError: It is none of these.
        BusStateError: Workers have run on one of both since the move began.
    """
    latest = yield "audit_records", dict(_LATEST)
    ((low, _),) = yield "log_span", {}
    ((epochs,),) = yield "lease_epochs", {}
    before = as_json(latest[0][5]) if latest else {}
    if before.get("from") == origin.identity and low is not None:
        check_nobody_worked(before, origin, epochs, title)
    elif low is not None:
        raise ConfigurationError(
            f"{title} has events, and none that were moved from {origin.title}: give a store without events"
        )
    detail = {"from": origin.identity, "source_epochs": origin.epochs, "epochs": epochs}
    return Begun((yield from record(actor, ACTION, origin.title, detail=detail, count=0)), epochs)


def check_nobody_worked(before: Mapping[str, Any], origin: Origin, epochs: int, title: str) -> None:
    if before["source_epochs"] != origin.epochs:
        raise BusStateError(
            f"workers have run on {origin.title} since the move began, so that what was moved is out of date: begin again "
            f"with an empty store in place of {title}"
        )
    if before["epochs"] != epochs:
        raise BusStateError(
            f"workers have run on {title} since the move began: what was published to {origin.title} after it goes over by  "
            f"holdfast export  and  holdfast publish --jsonl , which takes no event twice"
        )


def hold(names: Sequence[str], actor: str) -> Action[None]:
    """Nobody works for these subscriptions until all is there; of an empty log, cursors begin at its end."""
    yield "hold_subscriptions", {"names": _json(list(names)), "actor": actor}
    ((low, _),) = yield "log_span", {}
    if low is None:
        for row in (yield "subscription_records", {}):
            yield "skip_cursors", {"subscription": row[0]}
    yield "bump_generation", {}


def add(operator: Operating, contents: Contents, begun: Begun, highest: int) -> Action[None]:
    """
    Store events with all that belongs to them.

    Args:
        highest: Number of the last delivery row of the store that they come from.

    Raises:
        BusStateError: A worker has begun to work there; nothing was stored.
    """
    ((epochs,),) = yield "lease_epochs", {}
    if epochs != begun.epochs:
        raise BusStateError(f"a worker has begun to work where events are moved to: stop it, and {AGAIN}")
    yield from operator.before_moving_in(highest)
    for statement, name, rows in (
        ("add_moved_events", "events", contents.events),
        ("add_moved_receipts", "receipts", contents.receipts),
        ("add_moved_deliveries", "deliveries", contents.deliveries),
        ("add_waiting", "waiting", contents.waiting),
        ("add_moved_attempts", "attempts", contents.attempts),
    ):
        if rows:
            yield statement, {name: dicts(rows), "highest": highest}
    yield from operator.after_moving_in()
    yield from count_in_audit(begun.audit, len(contents.events))


AGAIN = "begin again with an empty store"


def add_rows(statement: str, name: str, rows: Sequence[Any]) -> Action[None]:
    """Store rows that belong to no event."""
    yield statement, {name: dicts(rows)}


def end(
    standing: Sequence[Standing], pauses: Sequence[TenantPause], title: str, detail: Mapping[str, Any], actor: str
) -> Action[None]:
    """All is there and the same: subscriptions are as they were."""
    yield "put_tenant_pauses", {"pauses": dicts(pauses)}
    yield "put_standing", {"subscriptions": dicts(standing)}
    yield "bump_generation", {}
    yield from record(actor, "moved in", title, detail=detail, count=detail["events"])


def dicts(rows: Sequence[Any]) -> str:
    """Rows as a statement takes them apart."""
    return _json([row._asdict() for row in rows])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
