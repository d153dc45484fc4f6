"""From what the caller gives to an event that can be stored: validated, with what it inherits. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from holdfast.encrypted import is_encrypted
from holdfast.errors import InvalidEvent
from holdfast.event import NewEvent
from holdfast.event_types import event_type_of
from holdfast.ids import new_id
from holdfast.names import (
    check_due,
    check_event_id,
    check_key,
    check_name,
    check_occurred_at,
    check_tenant,
    shown_value,
)
from holdfast.payload import encode_headers, encode_payload
from holdfast.ports import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from holdfast.subscription import Delivery

DEFAULT_TENANT = "default"
_FIELDS = (
    "name", "payload", "tenant_id", "key", "event_id", "id", "headers", "occurred_at", "deliver_at", "delay",
)  # fmt: skip
_MISSING: Any = object()
_NOTHING: Mapping[str, str] = MappingProxyType({})
_TRACE = ("traceparent", "tracestate")  # as W3C Trace Context has them: they belong together


def compose(
    name: str | Any, payload: Any, *, tenant_id: str | None, key: str | None, event_id: UUID | str | None,
    headers: Mapping[str, str] | None, occurred_at: datetime | str | None, cause: Delivery | None, limit: int,
    require_tenant: bool = False, index: int | None = None, trace: Mapping[str, str] = _NOTHING,
    deliver_at: datetime | str | None = None, delay: float | None = None, now: Callable[[], datetime] = utc_now,
) -> NewEvent:  # fmt: skip
    """
    An event ready to be stored.

    Args:
        name: Or a value of a type that was declared as an event, or that type, with its value as the payload.
        cause: The delivery whose handler publishes it: tenant, correlation, actor and trace are inherited, causation is
            its event.
        limit: Most bytes of the encoded payload.
        require_tenant: Refuse it where neither the caller nor the cause names a tenant.
        index: Position in a list, for error messages.
        trace: Headers of the publish that is under way, where somebody follows it; they replace inherited ones.
        deliver_at: When it is to come into the log; or *delay*, in how many seconds.
        now: The clock that *delay* is counted from.

    Raises:
        InvalidEvent: Names the field and the rule.
    """
    kind = None if type(name) is str else event_type_of(name)
    if kind is not None:
        payload, tenant_id, key, headers = kind.outgoing(
            name, payload, tenant_id=tenant_id, key=key, headers=headers, index=index
        )
        name = kind.name
    if cause is not None and tenant_id is None:
        tenant_id = cause.event.tenant_id
    if tenant_id is None and require_tenant:
        raise InvalidEvent("tenant_id", "is missing", "give one: the bus was made with require_tenant=True", index)
    if cause is not None or trace:
        own: Mapping[str, str] = {} if headers is None else headers
        if isinstance(own, Mapping):  # anything else is refused below
            headers = {**trace, **own}
            headers = {**inherited(cause, has_trace="traceparent" in headers), **headers}
    encoded = encode_payload(payload, limit=limit, index=index)
    if is_encrypted(encoded):  # in a batch or a spool it would be taken for one of ours
        raise InvalidEvent(
            "payload", "begins as an encrypted one does", 'the name "holdfast.encrypted" is taken', index
        )
    if kind is not None:
        kind.require_valid(encoded, index)
    due_at = None
    if deliver_at is not None or delay is not None:
        due_at = check_due(deliver_at, delay, now(), index)
    return NewEvent(
        new_id() if event_id is None else check_event_id(event_id, index),
        DEFAULT_TENANT if tenant_id is None else check_tenant(tenant_id, index),
        check_name(name, index),
        None if key is None else check_key(key, index),
        encoded,
        None if headers is None else encode_headers(headers, index),
        None if occurred_at is None else check_occurred_at(occurred_at, index),
        event_id is None and due_at is None,
        due_at,
    )


def inherited(cause: Delivery | None, *, has_trace: bool) -> dict[str, str]:
    """Headers of an event that the handler of *cause* publishes; not those of the trace where it *has_trace* of its own."""
    if cause is None:
        return {}
    event, names = cause.event, ("actor",) if has_trace else ("actor", *_TRACE)
    handed_on = {name: value for name in names if (value := event.header(name)) is not None}
    return {"correlation_id": event.correlation_id, "causation_id": str(event.id)} | handed_on


def compose_items(
    items: Iterable[Any], *, cause: Delivery | None, limit: int, require_tenant: bool = False,
    trace: Mapping[str, str] = _NOTHING, now: Callable[[], datetime] = utc_now,
) -> list[NewEvent]:  # fmt: skip
    """The events of a list given to ``publish_many``.

    Raises:
        InvalidEvent: With the index, the field and the rule.
    """
    given: Any = items  # callers without a type checker give other things
    if not isinstance(given, Iterable) or isinstance(given, Mapping | str | bytes):
        raise InvalidEvent("items", f"is {shown_value(items)}", "give a list of mappings or objects, an event each")
    return [
        compose_item(item, index, cause=cause, limit=limit, require_tenant=require_tenant, trace=trace, now=now)
        for index, item in enumerate(items)
    ]


def compose_item(
    item: Any, index: int, *, cause: Delivery | None, limit: int, require_tenant: bool = False,
    trace: Mapping[str, str] = _NOTHING, now: Callable[[], datetime] = utc_now,
) -> NewEvent:  # fmt: skip
    """
    An event of a list given to ``publish_many``: a mapping, an object with attributes of these names, or a value of a
    type that was declared as an event.

    Raises:
        InvalidEvent: With the index, the field and the rule.
    """
    if isinstance(item, Mapping):
        unknown = [name for name in item if name not in _FIELDS]
        if unknown:
            raise InvalidEvent(str(unknown[0])[:60], "is not a field of an event", f"use {', '.join(_FIELDS)}", index)
        get = item.get
    elif event_type_of(item) is not None:
        get = dict[Any, Any](name=item, payload=None).get
    else:

        def get(name: str, default: Any = None) -> Any:
            return getattr(item, name, default)

    name, payload = get("name", _MISSING), get("payload", _MISSING)
    if name is _MISSING or payload is _MISSING:
        raise InvalidEvent(
            "name" if name is _MISSING else "payload", "is missing", "every item has a name and a payload", index
        )
    event_id, same = get("event_id"), get("id")
    if event_id is not None and same is not None and str(event_id) != str(same):
        raise InvalidEvent("event_id", "differs from id", "give one of them", index)
    return compose(
        name, payload, tenant_id=get("tenant_id"), key=get("key"), event_id=event_id if event_id is not None else same,
        headers=get("headers"), occurred_at=get("occurred_at"), cause=cause, limit=limit,
        require_tenant=require_tenant, index=index, trace=trace, deliver_at=get("deliver_at"), delay=get("delay"),
        now=now,
    )  # fmt: skip
