"""What a store keeps, in a form that both kinds share: ids and times as texts, JSON as it was written. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.errors import ConfigurationError
from holdfast.stores.columns import as_moment, as_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

_SINGLE = struct.Struct("<f")


class MovedEvent(NamedTuple):
    """An event of the log; ``payload`` and ``headers`` are JSON."""

    id: str
    occurred_at: str
    tenant_id: str
    name: str
    key: str | None
    payload: str
    headers: str | None


class MovedReceipt(NamedTuple):
    event_id: str
    subscription: str
    processed_at: str
    attempts: int


class MovedDelivery(NamedTuple):
    """A delivery row. ``number`` is its id, by which rows are in order; ``replay`` the number of a replay."""

    number: int
    subscription: str
    event_id: str
    tenant_id: str
    key: str | None
    name: str
    state: str
    attempts: int
    put_offs: int
    claim: int
    due_at: str | None
    replay: int | None
    reason: str | None
    created_at: str
    updated_at: str
    payload: str | None
    headers: str | None
    occurred_at: str | None

    @property
    def facts(self) -> tuple[Any, ...]:
        """What has to be the same in both stores; a row that waits is due whenever its turn comes."""
        due_at = self.due_at if self.state == "retrying" else None
        return (*self[1:9], due_at, self.replay, self.reason, *self[15:])


class Waiting(NamedTuple):
    """An event that a subscription has not come to yet. In the store that it is moved to it has a row."""

    event_id: str
    subscription: str
    tenant_id: str
    key: str | None
    name: str

    @property
    def facts(self) -> tuple[Any, ...]:
        """Those of the row."""
        nothing = (None,) * 6
        return (self.subscription, self.event_id, self.tenant_id, self.key, self.name, "pending", 0, 0, *nothing)


class MovedAttempt(NamedTuple):
    event_id: str
    subscription: str
    attempt: int
    outcome: str
    error: str
    message: str
    traceback: str | None
    seconds: float
    finished_at: str

    @property
    def facts(self) -> tuple[Any, ...]:
        return (*self[:7], _single(self.seconds), self.finished_at)


class MovedKey(NamedTuple):
    """A data key, wrapped by a master key as it is."""

    id: str
    tenant_id: str
    key: str | None
    master: str
    wrapped: str | None
    created_at: str
    retired_at: str | None


class MovedScheduled(NamedTuple):
    """An event that was published for later."""

    id: str
    due_at: str
    published_at: str
    occurred_at: str | None
    tenant_id: str
    name: str
    key: str | None
    payload: str
    headers: str | None
    refused_at: str | None


class MovedSchedule(NamedTuple):
    name: str
    rule: str
    zone: str
    missed: str
    tenant_id: str
    next_at: str
    last_at: str | None
    not_before: str
    paused_at: str | None
    paused_by: str | None
    created_at: str


class MovedReplay(NamedTuple):
    number: int
    subscription: str
    filters: str
    rate: float
    total: int
    done: int
    state: str
    actor: str
    created_at: str
    finished_at: str | None

    @property
    def facts(self) -> tuple[Any, ...]:
        return (*self[:3], _single(self.rate), *self[4:])


class Standing(NamedTuple):
    """How an operator has left a subscription."""

    name: str
    paused_at: str | None
    paused_by: str | None
    concurrency: int | None
    created_at: str


class TenantPause(NamedTuple):
    subscription: str
    tenant_id: str
    paused_at: str
    paused_by: str


def as_event(row: Sequence[Any]) -> MovedEvent:
    _, event_id, occurred_at, tenant_id, name, key, payload, headers, *_ = row
    found, where = _id(event_id), f"event {_id(event_id)}"
    return MovedEvent(
        found, _time(occurred_at), _text(tenant_id, where), _text(name, where), _text_or_none(key, where),
        _text(payload, where), _text_or_none(headers, where),
    )  # fmt: skip


def as_receipt(row: Sequence[Any]) -> MovedReceipt:
    event_id, subscription, processed_at, attempts = row
    return MovedReceipt(_id(event_id), subscription, _time(processed_at), attempts)


def as_delivery(row: Sequence[Any]) -> MovedDelivery:
    (
        number, subscription, event_id, tenant_id, key, name, state, attempts, put_offs, claim, due_at, replay, reason,
        created_at, updated_at, payload, headers, occurred_at,
    ) = row  # fmt: skip
    where = f"the delivery of event {_id(event_id)} to {subscription!r}"
    return MovedDelivery(
        number, subscription, _id(event_id), _text(tenant_id, where), _text_or_none(key, where), _text(name, where), state,
        attempts, put_offs, claim, _time(due_at), replay, reason, _time(created_at), _time(updated_at),
        _text_or_none(payload, where), _text_or_none(headers, where), _time_or_none(occurred_at),
    )  # fmt: skip


def as_waiting(row: Sequence[Any]) -> Waiting:
    event_id, subscription, tenant_id, key, name = row
    where = f"event {_id(event_id)}"
    return Waiting(_id(event_id), subscription, _text(tenant_id, where), _text_or_none(key, where), _text(name, where))


def as_attempt(row: Sequence[Any]) -> MovedAttempt:
    event_id, subscription, attempt, outcome, error, message, traceback, seconds, finished_at = row
    return MovedAttempt(
        _id(event_id), subscription, attempt, outcome, error, message, traceback, seconds, _time(finished_at)
    )


def as_key(row: Sequence[Any]) -> MovedKey:
    key_id, tenant_id, key, master, wrapped, created_at, retired_at = row
    return MovedKey(_id(key_id), tenant_id, key, master, wrapped, _time(created_at), _time_or_none(retired_at))


def as_scheduled(row: Sequence[Any]) -> MovedScheduled:
    event_id, due_at, published_at, occurred_at, tenant_id, name, key, payload, headers, refused_at = row
    where = f"the scheduled event {_id(event_id)}"
    return MovedScheduled(
        _id(event_id), _time(due_at), _time(published_at), _time_or_none(occurred_at), _text(tenant_id, where),
        _text(name, where), _text_or_none(key, where), _text(payload, where), _text_or_none(headers, where),
        _time_or_none(refused_at),
    )  # fmt: skip


def as_schedule(row: Sequence[Any]) -> MovedSchedule:
    name, rule, zone, missed, tenant_id, next_at, last_at, not_before, paused_at, paused_by, created_at = row
    return MovedSchedule(
        name, rule, zone, missed, tenant_id, _time(next_at), _time_or_none(last_at), _time(not_before),
        _time_or_none(paused_at), paused_by, _time(created_at),
    )  # fmt: skip


def as_replay(row: Sequence[Any]) -> MovedReplay:
    number, subscription, filters, rate, total, done, state, actor, created_at, finished_at = row
    return MovedReplay(
        number, subscription, _text(filters, f"replay {number}"), rate, total, done, state, actor,
        _time(created_at), _time_or_none(finished_at),
    )  # fmt: skip


def as_tenant_pause(row: Sequence[Any]) -> TenantPause:
    subscription, tenant_id, paused_at, paused_by = row
    return TenantPause(subscription, tenant_id, _time(paused_at), paused_by)


def time_of(value: Any) -> str | None:
    """An aware datetime, or None, as rows have it."""
    return None if value is None else f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _id(value: bytes | str) -> str:
    return str(as_uuid(value))


def _time(value: int | str) -> str:
    found = time_of(as_moment(value))
    assert found is not None
    return found


def _time_or_none(value: int | str | None) -> str | None:
    return None if value is None else _time(value)


def _single(value: float) -> float:
    """As PostgreSQL keeps it, whose column has single precision."""
    found: float = _SINGLE.unpack(_SINGLE.pack(value))[0]
    return found


def _text(value: bytes | str, where: str) -> str:
    """
    Raises:
        ConfigurationError: Another program has stored what is no text.
    """
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{where} has text that is not UTF-8, which no other store would keep as it is: {error}"
        ) from error


def _text_or_none(value: bytes | str | None, where: str) -> str | None:
    return None if value is None else _text(value, where)
