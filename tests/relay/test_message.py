"""Messages that become events, or are kept as refused: whatever comes in, one of the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidEvent
from holdfast.relay.message import KEPT_BYTES, REFUSED_EVENT, event_of, refusal_of
from holdfast.relay.ports import Incoming

if TYPE_CHECKING:
    from holdfast.event import NewEvent

TEXT = st.text(st.characters(exclude_categories=()), max_size=30)  # lone surrogates and NUL among them
HEADERS = st.dictionaries(
    st.sampled_from(["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "content-type", "ce-holdfastmore"])
    | TEXT,
    st.sampled_from(["1.0", "application/cloudevents+json", "application/json", "order.placed"]) | TEXT,
)
INCOMING = st.builds(
    Incoming, name=TEXT, body=st.binary(max_size=60) | st.sampled_from([b"{}", b'{"a": 1}', b"[" * 5000]),
    headers=HEADERS, source=TEXT, id=st.none() | TEXT, handle=st.none(),
)  # fmt: skip


def read(incoming: Incoming, **options: Any) -> NewEvent:
    return event_of(incoming, **{"convert": None, "tenant_id": None, "limit": 1000, "require_tenant": False, **options})


@given(INCOMING)
def test_whatever_comes_in_is_an_event_or_is_refused_and_kept(incoming: Incoming) -> None:
    try:
        event = read(incoming)
    except InvalidEvent as refused:
        kept = refusal_of(incoming, str(refused), ingest="in", tenant_id=None)
        assert kept.name == REFUSED_EVENT
        assert kept.id == refusal_of(incoming, str(refused), ingest="in", tenant_id=None).id
    else:
        assert isinstance(event.id, UUID)
        if incoming.id is not None or {"ce-specversion", "ce-id"} <= incoming.headers.keys():
            assert read(incoming).id == event.id  # or the same message twice would be two events


def message(body: bytes = b"{}", **more: Any) -> Incoming:
    return Incoming(
        **{"name": "a.b", "body": body, "headers": {}, "source": "test:a", "id": "1", "handle": None, **more}
    )


def test_what_convert_raises_is_the_fault_of_the_message() -> None:
    with pytest.raises(InvalidEvent, match="KeyError"):
        read(message(), convert=lambda one: {"name": one.headers["missing"], "payload": 1})
    assert read(message(b"x=1"), convert=lambda one: {"name": "form", "payload": one.body.decode()}).payload == b'"x=1"'


def test_a_tenant_that_is_given_is_stronger_than_one_that_is_said() -> None:
    said = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "a", "ce-tenantid": "theirs"}
    assert read(message(headers=said)).tenant_id == "theirs"
    assert read(message(headers=said), tenant_id="ours").tenant_id == "ours"
    with pytest.raises(InvalidEvent, match="tenant_id is missing"):
        read(message(), require_tenant=True)


def test_of_a_large_body_the_beginning_is_kept() -> None:
    kept = refusal_of(message(b"x" * 10 * KEPT_BYTES), "too large", ingest="in", tenant_id=None)
    assert KEPT_BYTES < len(kept.payload) < KEPT_BYTES + 1000
    assert b'"size":655360' in kept.payload
