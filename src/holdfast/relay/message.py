"""What goes on the wire for an event, and which event a message is. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from holdfast.composing import compose_item
from holdfast.errors import InvalidEvent
from holdfast.ids import text_of
from holdfast.relay.cloudevents import identity, item_of, made_identity, of_event, read, to_binary, to_structured
from holdfast.relay.ports import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.event import Event, NewEvent
    from holdfast.relay.ports import Format, Incoming

    Convert = Callable[[Incoming], Mapping[str, Any]]
    """What ``ingest(convert=…)`` takes: an item of ``publish_many`` for a message."""

REFUSED_EVENT = "holdfast.ingest.refused"
"""Published for each message that can be no event, with the message in it."""

KEPT_BYTES = 64 * 1024
"""How much of a refused message's body is kept."""


def message_of(event: Event, *, source: str, format: Format) -> Message:
    """
    *event* as a CloudEvent on the wire.

    Args:
        source: Of events that were published here; those that were taken in keep theirs.
        format: ``binary``: attributes as ``ce-…`` headers, the payload as the body. ``structured``: all in the body.

    Raises:
        MalformedEvent: Another program has stored a payload or headers that are not JSON.
    """
    cloud_event = of_event(event, source=source)
    headers, body = to_binary(cloud_event) if format == "binary" else to_structured(cloud_event)
    return Message(text_of(event.row.id), event.name, event.tenant_id, event.key, body, headers)


def event_of(
    incoming: Incoming, *, convert: Convert | None, tenant_id: str | None, limit: int, require_tenant: bool
) -> NewEvent:
    """
    The event that a message is.

    A CloudEvent in either mode is read as one. Any other message has its subject, topic or stream as the name, its body
    as the payload, and an id made of where it comes from and what the broker identifies it by.

    Args:
        convert: Reads messages of another kind; what it raises is the message's fault.
        tenant_id: Whatever the message says; None: what it says.
        limit: Most bytes of the payload.
        require_tenant: Refuse a message that names none.

    Raises:
        InvalidEvent: It can be no event; names the field and the rule.
    """
    try:
        item = _item(incoming, convert)
        if tenant_id is not None:
            item["tenant_id"] = tenant_id
        return compose_item(item, 0, cause=None, limit=limit, require_tenant=require_tenant)
    except InvalidEvent as error:
        error.index = None  # it stands in no list that anybody has given
        raise
    except Exception as error:  # whoever sends must not be able to stop an ingest
        raise InvalidEvent(
            "message", f"cannot be read: {type(error).__name__}: {error}", "send a CloudEvent"
        ) from error


def refusal_of(incoming: Incoming, reason: str, *, ingest: str, tenant_id: str | None) -> NewEvent:
    """The event that keeps a message which can be no event. The same for the same message, so that it is kept once."""
    body = incoming.body[:KEPT_BYTES]
    payload: dict[str, Any] = {
        "ingest": ingest,
        "source": _kept(incoming.source),
        "name": _kept(incoming.name),
        "id": None if incoming.id is None else _kept(incoming.id),
        "reason": _kept(reason),
        "size": len(incoming.body),
        "headers": {_kept(name): _kept(value) for name, value in incoming.headers.items()},
    }
    try:
        payload["body"] = _without_nul(body.decode())
    except UnicodeDecodeError:
        payload["body_base64"] = base64.b64encode(body).decode()
    marks = f"{payload['id']}\n{payload['headers'].get('ce-id')}\n{payload['reason']}\n{incoming.body!r}"
    item = {
        "name": REFUSED_EVENT, "payload": payload, "tenant_id": tenant_id,
        "event_id": made_identity(f"{ingest}\n{payload['source']}", marks),
    }  # fmt: skip
    return compose_item(item, 0, cause=None, limit=2**30)


def _item(incoming: Incoming, convert: Convert | None) -> dict[str, Any]:
    if convert is not None:
        return dict(convert(incoming))
    kind = incoming.headers.get("content-type", "").lower()
    if kind.startswith("application/cloudevents") or "ce-specversion" in incoming.headers:
        return item_of(read(incoming.headers, incoming.body))
    return _plain(incoming)


def _plain(incoming: Incoming) -> dict[str, Any]:
    headers = {"ce_source": incoming.source}
    item: dict[str, Any] = {"name": incoming.name, "payload": incoming.body, "headers": headers}
    if incoming.id is not None:
        item["event_id"] = made = identity(incoming.source, incoming.id)
        if str(made) != incoming.id:
            headers["ce_id"] = incoming.id
    return item


def _kept(text: str) -> str:
    return _without_nul(text.encode("utf-8", "backslashreplace").decode())[:1024]


def _without_nul(text: str) -> str:
    return text.replace("\0", "\\0")
