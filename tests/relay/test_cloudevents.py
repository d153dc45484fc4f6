"""Events as CloudEvents and back, judged by the official SDK."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as OfficialEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.composing import compose_item
from holdfast.errors import InvalidEvent, MalformedEvent
from holdfast.event import Event, Row, to_micros
from holdfast.relay.cloudevents import (
    CloudEvent,
    identity,
    item_of,
    made_identity,
    of_event,
    quoted,
    read,
    to_binary,
    to_structured,
    unquoted,
)

ID = UUID("0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41")
MINIMAL = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed"}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
filled = texts.filter(bool)
names = st.lists(st.from_regex(r"[A-Za-z0-9_:/-]{1,10}", fullmatch=True), min_size=1, max_size=4).map(".".join)
payloads = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
moments = st.datetimes(timezones=st.just(UTC))
KNOWN = ["correlation_id", "causation_id", "traceparent", "tracestate", "actor", "ce_subject", "ce_dataschema", "ce_id",
         "ce_source", "ce_type", "ce_time", "ce_tenantid", "ce_data", "ce_data_base64", "ce_holdfastmore", "X-Mine"]  # fmt: skip
headers = st.dictionaries(st.sampled_from(KNOWN) | filled, texts, max_size=8)
events = st.builds(
    lambda name, payload, **rest: Event.build(name, payload, **rest),
    names, payloads, event_id=st.uuids().filter(lambda given: given.int), tenant_id=filled, key=st.none() | filled,
    headers=headers, occurred_at=moments,
)  # fmt: skip


def event_of(cloud_event: CloudEvent) -> Event:
    """As a store has it that `publish` gave it to."""
    new = compose_item(item_of(cloud_event), 0, cause=None, limit=2**20)
    moment = 0 if new.occurred_at is None else to_micros(new.occurred_at)
    return Event(Row(1, new.id.bytes, 0, 0, moment, new.tenant_id, new.name, new.key, new.payload, new.headers))


def official(message: tuple[dict[str, str], bytes]) -> OfficialEvent:
    sent, body = message
    found = from_http(HTTPMessage({name: quoted(value) if name.startswith("ce-") else value
                                   for name, value in sent.items()}, body), JSONFormat())  # fmt: skip
    assert isinstance(found, OfficialEvent)
    return found


def unpacked(message: HTTPMessage) -> CloudEvent:
    lower = {name.lower(): value for name, value in message.headers.items()}
    return read(
        {name: unquoted(value) if name.startswith("ce-") else value for name, value in lower.items()}, message.body
    )


@settings(max_examples=60)
@given(events)
@pytest.mark.parametrize("mode", [to_structured, to_binary])
def test_an_event_that_went_as_a_cloudevent_comes_back_the_same(mode, event):
    back = event_of(read(*mode(of_event(event, source="/shop"))))
    sent, own = of_event(event, source="/shop").attributes, dict(event.headers)
    is_foreign = own.get("ce_id") == sent["id"]
    assert (back.name, back.tenant_id, back.key, back.payload) == (
        event.name,
        event.tenant_id,
        event.key,
        event.payload,
    )
    assert back.occurred_at == event.occurred_at
    assert back.id == (identity(sent["source"], sent["id"]) if is_foreign else event.id)
    own["ce_source"] = sent["source"]
    # What says how a payload is to be read means something only where it is read so; an id is kept where it is another.
    ignored = {"ce_data_base64", "ce_datacontenttype", "ce_id"}
    assert {n: v for n, v in back.headers.items() if n not in ignored} == {
        n: v for n, v in own.items() if n not in ignored
    }


@settings(max_examples=60)
@given(events)
@pytest.mark.parametrize("mode", [to_structured, to_binary])
def test_a_cloudevent_that_became_an_event_goes_on_the_same(mode, event):
    first = read(*mode(of_event(event, source="/shop")))
    again = of_event(event_of(first), source="somewhere else")
    assert read(*mode(again)) == first


@settings(max_examples=60)
@given(events)
def test_the_official_sdk_reads_what_we_write(event):
    ours = of_event(event, source="/shop")
    for mode in (to_structured, to_binary):
        found = official(mode(ours))
        assert found.get_id() == ours.attributes["id"]
        assert found.get_source() == ours.attributes["source"]
        assert found.get_type() == event.name
        assert found.get_time() == event.occurred_at
        if ours.is_json:
            assert found.get_data() == event.payload
        for name, value in ours.attributes.items():
            if name not in {"time", "specversion", "datacontenttype"}:
                assert found.get_attributes()[name] == value


@settings(max_examples=60)
@given(
    source=filled.filter(lambda text: text.isprintable()), id=filled.filter(lambda text: text.isprintable()), type=names,
    data=st.dictionaries(texts, payloads, max_size=4), time=st.none() | moments,
    extensions=st.dictionaries(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
        lambda name: name not in {"id", "source", "type", "time", "specversion", "data", "datacontenttype",
                                  "dataschema", "subject", "holdfastmore", "tenantid", "partitionkey"}),
        filled.filter(lambda text: text.isprintable()), max_size=4),
)  # fmt: skip
@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
def test_we_read_what_the_official_sdk_writes(write, source, id, type, data, time, extensions):
    attributes = {"id": id, "source": source, "type": type, "datacontenttype": "application/json", **extensions}
    moment = datetime(2026, 11, 27, tzinfo=UTC) if time is None else time
    theirs = OfficialEvent({**attributes, "time": moment}, data)
    found = unpacked(write(theirs))
    assert {name: found.attributes[name] for name in attributes} == attributes
    event = event_of(found)
    assert (event.id, event.name, event.payload) == (identity(source, id), type, data)
    assert event.occurred_at == moment
    assert event.headers["ce_source"] == source


def test_everything_of_an_event_has_its_place():
    event = Event.build(
        "order.placed", {"order_id": 1}, event_id=ID, tenant_id="acme", key="order-1",
        headers={"correlation_id": "c", "causation_id": "d", "actor": "ann", "traceparent": "t", "tracestate": "s",
                 "ce_subject": "orders/1", "X-Mine": "yes"},
        occurred_at=datetime(2026, 11, 27, 8, 30, 0, 5, UTC),
    )  # fmt: skip
    sent, body = to_structured(of_event(event, source="/shop"))
    assert sent == {"content-type": "application/cloudevents+json; charset=utf-8"}
    assert json.loads(body) == {
        "specversion": "1.0", "id": str(ID), "source": "/shop", "type": "order.placed",
        "time": "2026-11-27T08:30:00.000005Z", "tenantid": "acme", "partitionkey": "order-1",
        "datacontenttype": "application/json", "correlationid": "c", "causationid": "d", "actor": "ann",
        "traceparent": "t", "tracestate": "s", "subject": "orders/1",
        "holdfastmore": '{"headers":{"X-Mine":"yes"}}', "data": {"order_id": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    "id",
    ["evt_1", ID.hex, str(ID).upper(), "{" + str(ID) + "}", str(UUID(int=0)), "urn:uuid:" + str(ID), " ", "\u00e9"],
)
def test_an_id_that_is_no_plain_uuid_becomes_one_for_ever_and_stays_in_a_header(id):
    event = event_of(CloudEvent({**MINIMAL, "id": id}))
    assert event.id == identity("/shop", id) == made_identity("/shop", id)
    assert event.id.version == 5
    assert event.headers["ce_id"] == id
    assert event.id != event_of(CloudEvent({**MINIMAL, "id": id, "source": "/other"})).id


def test_made_ids_never_change():
    assert str(identity("/shop", "evt_1")) == "8b0d4255-1bf2-577a-bc77-7c63ce85494b"


def test_a_uuid_stays():
    event = event_of(CloudEvent({**MINIMAL, "id": str(ID)}))
    assert event.id == ID
    assert "ce_id" not in event.headers


@pytest.mark.parametrize(
    ("kind", "data", "payload"),
    [
        ("text/plain", "hällo".encode(), "hällo"),
        ("application/xml", b"<order/>", "<order/>"),
        ("image/png", b"\x89PNG\r\n", "iVBORw0K"),
        ("text/plain", b"a\0b", "YQBi"),
        ("application/vnd.shop+json", b'{"a": 1}', {"a": 1}),
        ("application/json; charset=utf-8", b"[1]", [1]),
    ],
)
@pytest.mark.parametrize("mode", [to_structured, to_binary])
def test_data_of_any_kind_goes_through(mode, kind, data, payload):
    first = CloudEvent({**MINIMAL, "datacontenttype": kind}, data)
    assert read(*mode(first)) == first
    event = event_of(read(*mode(first)))
    assert event.payload == payload
    assert event.headers["ce_datacontenttype"] == kind
    again = of_event(event, source="/x")
    assert (again.data, again.attributes["datacontenttype"]) == (data, kind)


def test_without_data_the_payload_is_null():
    for mode in (to_structured, to_binary):
        assert event_of(read(*mode(CloudEvent(dict(MINIMAL))))).payload is None


def test_the_tenant_may_be_set_by_who_receives():
    assert item_of(CloudEvent({**MINIMAL, "tenantid": "victim"}), tenant_id="acme")["tenant_id"] == "acme"


def structured(**changes):
    return json.dumps({key: value for key, value in {**MINIMAL, **changes}.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"[" * 100_000, "body"),
        (b'{"a":' * 100_000, "body"),
        (structured(id=...), "id"),
        (structured(id=""), "id"),
        (structured(id=None), "id"),
        (structured(source=...), "source"),
        (structured(type=...), "type"),
        (structured(specversion="0.3"), "specversion"),
        (structured(specversion=...), "specversion"),
        (structured(time="yesterday"), "time"),
        (structured(time="2026-11-27T08:30:00"), "time"),
        (structured(Subject="x"), "attributes"),
        (structured(**{"": "x"}), "attributes"),
        (structured(subject="a\nb"), "subject"),
        (structured(subject={"a": 1}), "'subject'"),
        (structured(size=1.5), "'size'"),
        (structured(data=1, data_base64="YQ=="), "data_base64"),
        (structured(data_base64="*"), "body"),
        (structured(data_base64=1), "body"),
    ],
)
def test_what_is_no_cloudevent_is_refused(body, field):
    with pytest.raises(InvalidEvent) as refused:
        read({"content-type": "application/cloudevents+json"}, body)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content-type": "application/json"},
        {"content-type": "application/cloudevents-batch+json"},
        {"content-type": "application/cloudevents+avro"},
        {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a"},
        {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "b", "ce-a_b": "c"},
    ],
)
def test_headers_that_make_no_cloudevent_are_refused(sent):
    with pytest.raises(InvalidEvent):
        read(sent, b"{}")


@pytest.mark.parametrize("more", ["{", "[]", '{"headers": {"a": 1}}', '{"tenantid": 1}'])
def test_what_we_did_not_write_into_our_own_attribute_is_refused(more):
    with pytest.raises(InvalidEvent) as refused:
        item_of(CloudEvent({**MINIMAL, "holdfastmore": more}))
    assert refused.value.field == "holdfastmore"


@pytest.mark.parametrize("type", ["com example", "a..b", "ä", "x" * 201])
def test_a_type_that_is_no_name_is_refused_when_it_is_published(type):
    with pytest.raises(InvalidEvent) as refused:
        event_of(CloudEvent({**MINIMAL, "type": type}))
    assert refused.value.field == "name"


def test_numbers_and_booleans_become_texts():
    found = read({"content-type": "application/cloudevents+json"}, structured(count=5, done=True, gone=None))
    assert found.attributes == {**MINIMAL, "count": "5", "done": "true"}


def test_a_stored_payload_that_is_no_json_is_named():
    row = Event.build("a", 1, event_id=ID).row._replace(payload=b"{")
    with pytest.raises(MalformedEvent):
        of_event(Event(row), source="/shop")


@given(texts)
def test_values_go_through_http_headers(text):
    on_the_wire = quoted(text)
    assert on_the_wire.isascii()
    assert not set(on_the_wire) & set(' "\r\n\t')
    assert unquoted(on_the_wire) == text


def test_quotes_around_a_value_are_taken_off_and_nonsense_is_refused():
    assert unquoted(r'"a \"b\" %C3%A9"') == 'a "b" é'
    with pytest.raises(InvalidEvent):
        unquoted("%ff")


def test_times_are_exact_from_the_first_year_to_the_last():
    for moment in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)):
        event = Event.build("a", None, event_id=ID, occurred_at=moment)
        assert event_of(read(*to_binary(of_event(event, source="/s")))).occurred_at == moment
    east = event_of(CloudEvent({**MINIMAL, "time": "2026-11-27T08:30:00+05:30"}))
    assert east.occurred_at == datetime(2026, 11, 27, 8, 30, tzinfo=UTC) - timedelta(hours=5, minutes=30)
