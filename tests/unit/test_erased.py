"""What is left of an erased event."""

from __future__ import annotations

import json
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.erased import MASK, is_masked, masked, masked_headers
from holdfast.event import Event, NewEvent
from holdfast.stores.repeats import same

AT = "2030-01-31T12:00:00Z"
HEADERS = st.none() | st.binary() | st.dictionaries(st.text(), st.text()).map(msgspec.json.encode)
KEPT = {"erased_at", "erased_by", "correlation_id", "causation_id"}


@given(HEADERS)
def test_headers_keep_nothing_but_the_lineage_whatever_stood_there(headers: bytes | None) -> None:
    found = json.loads(masked_headers(headers, "bob", AT))
    assert found.keys() <= KEPT
    assert (found["erased_at"], found["erased_by"]) == (AT, "bob")


@given(HEADERS)
def test_what_was_masked_is_known_as_masked_and_by_its_payload_alone_it_is_not(headers: bytes | None) -> None:
    assert is_masked(True, masked_headers(headers, "bob", AT))
    assert not is_masked(False, masked_headers(headers, "bob", AT))


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1).filter(lambda found: found.keys() - KEPT))
def test_who_writes_the_mask_himself_hides_nothing_behind_it(extra: dict[str, str]) -> None:
    assert not is_masked(True, msgspec.json.encode({"erased_at": AT} | extra))


@given(HEADERS, st.binary())
def test_an_event_on_its_way_keeps_what_it_is_found_by(headers: bytes | None, payload: bytes) -> None:
    event = NewEvent(UUID(int=7), "acme", "a.b", "k", payload, headers)
    erased = masked(event, "bob", AT)
    assert erased.payload == MASK
    assert erased._replace(payload=payload, headers=headers) == event


def test_a_handler_can_tell() -> None:
    event_id = UUID(int=7)
    assert Event.build("a", {"holdfast.erased": True}, event_id=event_id).is_erased
    for payload in ({"holdfast.erased": False}, None, {"holdfast.erased": True, "n": 1}, "erased"):
        assert not Event.build("a", payload, event_id=event_id).is_erased


def test_nothing_but_tenant_name_and_key_is_compared_with_an_erased_event() -> None:
    event = NewEvent(UUID(int=7), "acme", "a", "k", b'{"n":1}')
    row = (event.id, "acme", "a", "k", MASK)
    assert same(event, row)
    assert same(event, (*row[:4], MASK.decode()))
    assert same(event._replace(payload=MASK), (*row[:4], b'{"n":1}'))
    assert not same(event, (event.id, "acme", "b", "k", MASK))
    assert not same(event, (*row[:4], b'{"n":2}'))
