"""Events as CloudEvents 1.0, and back. Pure.

=====================  ==========================================================================================
CloudEvent             event
=====================  ==========================================================================================
``id``                 the id; what is no UUID becomes one (`identity`), and stays in the header ``ce_id``
``source``             the header ``ce_source``; where there is none, the source that the caller names
``type``               the name
``time``               ``occurred_at``
``data``               the payload; text and bytes that are no JSON become a string
``tenantid``           the tenant
``partitionkey``       the key
``correlationid``,     the headers ``correlation_id``, ``causation_id``
``causationid``
``traceparent``,       the headers of the same names
``tracestate``,
``actor``
any other attribute    the header ``ce_<attribute>``
``holdfastmore``       JSON: headers with names, and texts with characters, that no attribute may have
=====================  ==========================================================================================

An event that becomes a CloudEvent and an event again is the same, and remembers ``ce_source``; the other way round, too.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID, uuid5

import msgspec

from holdfast.errors import InvalidEvent, MalformedEvent
from holdfast.event import EPOCH
from holdfast.ids import text_of
from holdfast.names import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.event import Event

NAMESPACE = UUID("6f1c5a0e-6f0b-5d0a-9c57-1f6a0b6d2e11")
"""Of ids that are made from those of others; fixed for ever."""

STRUCTURED = "application/cloudevents+json"
JSON = "application/json"
MORE = "holdfastmore"

_HEADER_OF = {
    "correlationid": "correlation_id",
    "causationid": "causation_id",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
    "actor": "actor",
}
_ATTRIBUTE_OF = {header: attribute for attribute, header in _HEADER_OF.items()}
_OWN = {"specversion", "id", "source", "type", "time", "tenantid", "partitionkey", "data", MORE, *_HEADER_OF}
_PREFIX = "ce_"
_IS_BASE64 = "ce_data_base64"

_ATTRIBUTE = re.compile(r"[a-z0-9]+")
_NO_STRING = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef]|[" + "".join(
    chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17)
) + "]")  # fmt: skip
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
_JSON_TYPE = re.compile(r"[^/]+/(json|[^/]+\+json)")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EPOCH = EPOCH.replace(tzinfo=None)  # a time with a zone takes three times as long to write
_DATA = msgspec.json.Decoder(msgspec.Raw)
_ESCAPED = re.compile(r"\\(.)")

_NAME_RULE = "names of attributes are lower-case letters and digits"
_STRING_RULE = "attributes are texts without control characters, numbers, true or false"
_JSON_RULE = "send one JSON object in UTF-8, as the JSON format of CloudEvents 1.0 has it"


class CloudEvent(msgspec.Struct, frozen=True):
    """A CloudEvent 1.0.

    Attributes:
        attributes: By name; numbers and booleans as their texts.
        data: As its content type has it; JSON where that is not said. None: there is none.
    """

    attributes: dict[str, str]
    data: bytes | None = None

    @property
    def is_json(self) -> bool:
        """Whether the data is JSON."""
        return is_json(self.attributes.get("datacontenttype", JSON))


def identity(source: str, id: str) -> UUID:
    """The id of the event that others know as *id* of *source*: the same one for ever.

    A UUID in its usual form, lower case with hyphens, stays as it is; of anything else, and of the nil UUID, one is made.
    """
    if _UUID.fullmatch(id) is not None and (found := UUID(id)).int:
        return found
    return made_identity(source, id)


def made_identity(source: str, id: str) -> UUID:
    """The same, made in any case: a UUID that is not ours to believe in."""
    return uuid5(uuid5(NAMESPACE, source), id)


def of_event(event: Event, *, source: str) -> CloudEvent:
    """*event* as a CloudEvent.

    Args:
        source: Of events that were published here; those that came from elsewhere keep theirs.

    Raises:
        MalformedEvent: Another program has stored a payload or headers that are not JSON.
    """
    headers = dict(event.headers)
    attributes = {
        "specversion": "1.0",
        "id": _taken(headers, "ce_id", text_of(event.row.id)),
        "source": _taken(headers, "ce_source", source),
        "type": event.name,
        "time": f"{(_EPOCH + timedelta(microseconds=event.row.occurred_at)).isoformat()}Z",
    }
    more: dict[str, Any] = {}
    for name, value in (("tenantid", event.tenant_id), ("partitionkey", event.key)):
        if value is not None:
            (attributes if _is_string(value) else more)[name] = value
    kind, data = _data_of(event, headers)
    attributes["datacontenttype"] = kind
    left = {}
    for header, text in headers.items():
        attribute = _attribute_of(header)
        if attribute is None or not _is_string(text):
            left[header] = text
        else:
            attributes[attribute] = text
    if left:
        more["headers"] = left
    if more:
        attributes[MORE] = json.dumps(more, separators=(",", ":")).replace("\x7f", "\\u007f")
    return CloudEvent(attributes, data)


def item_of(cloud_event: CloudEvent, *, tenant_id: str | None = None) -> dict[str, Any]:
    """
    What ``publish_many`` takes for *cloud_event*; ``publish`` takes the same by name.

    Args:
        tenant_id: Whatever the sender says. None: what the sender says, else the default.

    Raises:
        InvalidEvent: Something in it cannot be an event; the rest is checked when it is published.
    """
    attributes = dict(cloud_event.attributes)
    foreign_id, source = attributes.pop("id"), attributes.pop("source")
    event_id = identity(source, foreign_id)
    more = _more_of(attributes.pop(MORE, None))
    headers = {"ce_source": source}
    if str(event_id) != foreign_id:
        headers["ce_id"] = foreign_id
    item = {
        "name": attributes.pop("type"),
        "event_id": event_id,
        "tenant_id": attributes.pop("tenantid", None) or more.get("tenantid"),
        "key": attributes.pop("partitionkey", None) or more.get("partitionkey"),
        "payload": _payload_of(cloud_event, headers),
        "occurred_at": attributes.pop("time", None),
        "headers": headers,
    }
    if tenant_id is not None:
        item["tenant_id"] = tenant_id
    for name in attributes.keys() - {"specversion", "datacontenttype"}:
        headers[_HEADER_OF.get(name, _PREFIX + name)] = attributes[name]
    item["headers"] = {**more.get("headers", {}), **headers}
    return item


def _data_of(event: Event, headers: dict[str, str]) -> tuple[str, bytes]:
    """Content type and data; takes what says so out of *headers*."""
    kind, is_base64 = headers.pop("ce_datacontenttype", JSON), headers.pop(_IS_BASE64, None)
    if not is_json(kind) and isinstance(event.payload, str):
        if is_base64 is None:
            return kind, event.payload.encode()
        try:
            return kind, base64.b64decode(event.payload, validate=True)
        except binascii.Error:
            pass
    try:
        data = _DATA.decode(event.row.payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedEvent(event.id, "payload", str(error)) from error
    return kind if is_json(kind) and _is_string(kind) else JSON, bytes(data)


def _taken(headers: dict[str, str], name: str, default: str) -> str:
    """What a header says, taken out of them; the default where that is nothing an attribute may say."""
    value = headers.pop(name, "")
    return value if _is_string(value) else default


def _payload_of(cloud_event: CloudEvent, headers: dict[str, str]) -> Any:
    """The payload; what the data is, where it is not plain JSON, goes into *headers*."""
    kind, data = cloud_event.attributes.get("datacontenttype", JSON), cloud_event.data
    if kind != JSON:
        headers["ce_datacontenttype"] = kind
    if data is None:
        return None
    if cloud_event.is_json:
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    headers[_IS_BASE64] = "true"
    return base64.b64encode(data).decode()


def _attribute_of(header: str) -> str | None:
    """The attribute that says what a header of an event says; None where there can be none."""
    if header in _ATTRIBUTE_OF:
        return _ATTRIBUTE_OF[header]
    name = header.removeprefix(_PREFIX)
    return None if name == header or name in _OWN or _ATTRIBUTE.fullmatch(name) is None else name


def _more_of(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return msgspec.to_builtins(msgspec.json.decode(text, type=_More), str_keys=True)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidEvent(MORE, "is not what Holdfast writes", "leave it out, or send it on as it came") from error


class _More(msgspec.Struct, omit_defaults=True):
    tenantid: str | None = None
    partitionkey: str | None = None
    headers: dict[str, str] = {}


@lru_cache(maxsize=100)
def is_json(content_type: str) -> bool:
    """Whether a content type is JSON: ``application/json``, or one that ends in ``+json``; parameters do not matter."""
    return _JSON_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()) is not None


def _is_string(value: str) -> bool:
    """Whether CloudEvents allows the value of an attribute to be so."""
    if value.isascii():
        return value.isprintable() and value != ""
    return _NO_STRING.search(value) is None


# On the wire


def to_structured(cloud_event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Headers and body of the structured mode: everything in one JSON object."""
    content: dict[str, Any] = dict(cloud_event.attributes)
    data = cloud_event.data
    if data is not None and cloud_event.is_json:
        content["data"] = msgspec.Raw(data)
    elif data is not None:
        try:
            content["data"] = data.decode()
        except UnicodeDecodeError:
            content["data_base64"] = base64.b64encode(data).decode()
    return {"content-type": f"{STRUCTURED}; charset=utf-8"}, msgspec.json.encode(content)


def to_binary(cloud_event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Headers and body of the binary mode: attributes as ``ce-…`` headers, values unquoted; the data is the body."""
    attributes = cloud_event.attributes
    headers = {f"ce-{name}": value for name, value in attributes.items() if name != "datacontenttype"}
    if cloud_event.data is not None:
        headers["content-type"] = attributes.get("datacontenttype", JSON)
    return headers, cloud_event.data or b""


def read(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """
    The CloudEvent of a message in either mode.

    Args:
        headers: Names in lower case, values unquoted.
        body: As it came.

    Raises:
        InvalidEvent: It is none; names what is wrong.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        return _checked(*_parsed(body))
    if kind.startswith("application/cloudevents"):
        raise InvalidEvent("content-type", f"is {shown(kind)}", f"one event a message, as {STRUCTURED}")
    attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    if "specversion" not in attributes:
        raise InvalidEvent(
            "content-type", f"is {shown(kind)} and there is no ce-specversion",
            f"send a CloudEvent: {STRUCTURED}, or attributes in ce-… headers",
        )  # fmt: skip
    if "content-type" in headers:
        attributes["datacontenttype"] = headers["content-type"]
    return _checked(attributes, body or None)


def _parsed(body: bytes) -> tuple[dict[str, str], bytes | None]:
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        data, encoded = members.pop("data", None), members.pop("data_base64", None)
        attributes = {name: text for name, raw in members.items() if (text := _text_of(name, raw)) is not None}
        if encoded is not None:
            if data is not None:
                raise InvalidEvent("data_base64", "is there beside data", _JSON_RULE)
            return attributes, base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True)
        if data is None or is_json(attributes.get("datacontenttype", JSON)):
            return attributes, None if data is None else bytes(data)
        value = msgspec.json.decode(data)
        return attributes, value.encode() if isinstance(value, str) else bytes(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError, binascii.Error) as error:
        raise InvalidEvent("body", f"is no CloudEvent: {error}", _JSON_RULE) from error


def _text_of(name: str, raw: msgspec.Raw) -> str | None:
    value = msgspec.json.decode(raw)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is not None and not isinstance(value, str | int):
        raise InvalidEvent(shown(name), f"is of type {type(value).__name__}", _STRING_RULE)
    return None if value is None else str(value)


def _checked(attributes: dict[str, str], data: bytes | None) -> CloudEvent:
    for name, value in attributes.items():
        if _ATTRIBUTE.fullmatch(name) is None or name == "data":
            raise InvalidEvent("attributes", f"have {shown(name)}", _NAME_RULE)
        if _NO_STRING.search(value) is not None:
            raise InvalidEvent(name, "has a control character", _STRING_RULE)
    if attributes.get("specversion") != "1.0":
        raise InvalidEvent("specversion", f"is {shown(attributes.get('specversion', ''))}", "CloudEvents 1.0 is read")
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise InvalidEvent(name, "is missing or empty", "every CloudEvent has id, source and type")
    if (time := attributes.get("time")) is not None and _TIME.fullmatch(time) is None:
        raise InvalidEvent("time", f"{shown(time)} is no timestamp", "use RFC 3339, such as 2026-11-27T08:30:00Z")
    if time is not None:
        attributes["time"] = time.upper()
    return CloudEvent(attributes, data)


def quoted(value: str) -> str:
    """The value of an attribute as HTTP headers have it: percent-encoded but for visible ASCII."""
    return quote(value, safe="!#$&'()*+,/:;=?@[]\\^`{|}<>~")


def unquoted(value: str) -> str:
    """The value that `quoted`, or another sender, wrote so.

    Raises:
        InvalidEvent: Not UTF-8.
    """
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise InvalidEvent("ce-…", f"{shown(value)} is not UTF-8", "percent-encode the UTF-8 of a value") from None
