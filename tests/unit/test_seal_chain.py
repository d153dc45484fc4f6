"""What is hashed, and what a change of any part of it does: rules that hold for every log."""

from __future__ import annotations

import struct
from datetime import date
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sealing.chain import (
    ABSENT,
    ENTRY_BYTES,
    GENESIS,
    Entry,
    LoggedEvent,
    differences,
    head_of,
    link,
    unpacked,
)
from holdfast.sealing.comparing import Kept, matched
from holdfast.sealing.sealer import grouped

DAY = date(2026, 11, 26)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
digests = st.binary(min_size=32, max_size=32)
days = st.dates(date(2026, 11, 20), date(2026, 11, 24))
events = st.builds(
    LoggedEvent,
    position=st.integers(1, 2**63 - 1), id=st.binary(min_size=16, max_size=16), day=days,
    occurred_at=st.integers(-(2**55), 2**57), tenant_id=texts, name=texts, key=st.none() | texts,
    headers=st.just(ABSENT) | digests, payload=digests,
)  # fmt: skip


def entry_of(event: LoggedEvent) -> Entry:
    return Entry(event.position, event.id, event.identity, event.headers, event.payload)


def identity_by_hand(event: LoggedEvent) -> bytes:
    """As the documentation tells another program to do it."""

    def text(value: str | None) -> bytes:
        raw = None if value is None else value.encode()
        return b"\xff" * 4 if raw is None else len(raw).to_bytes(4, "big") + raw

    numbers = event.position.to_bytes(8, "big") + event.id + event.occurred_at.to_bytes(8, "big", signed=True)
    return sha256(b"holdfast event 1\0" + numbers + text(event.tenant_id) + text(event.name) + text(event.key)).digest()


@given(events)
def test_an_identity_is_what_the_documentation_says(event):
    assert event.identity == identity_by_hand(event)


@given(events, events)
def test_two_events_with_one_identity_are_the_same_in_all_it_covers(one, other):
    covered = ("position", "id", "occurred_at", "tenant_id", "name", "key")
    same = all(getattr(one, field) == getattr(other, field) for field in covered)
    assert (one.identity == other.identity) == same


@given(events, st.data())
def test_a_text_moved_from_one_field_into_the_next_is_another_identity(event, data):
    cut = data.draw(st.integers(0, len(event.tenant_id) - 1))
    moved = event._replace(tenant_id=event.tenant_id[:cut], name=event.tenant_id[cut:] + event.name)
    assert moved.identity != event.identity


@given(events)
def test_no_key_is_not_an_empty_key(event):
    assert event._replace(key=None).identity != event._replace(key="").identity


@given(st.lists(events, max_size=30))
def test_entries_come_back_as_they_were_packed(some):
    content = b"".join(event.packed for event in some)
    assert len(content) == ENTRY_BYTES * len(some) == 120 * len(some)
    assert list(unpacked(content)) == [entry_of(event) for event in some]


def test_a_link_is_what_the_documentation_says():
    before, content = bytes(range(32)), b"x" * 240
    made = link(before, DAY, 7, 11, 12, content)
    numbers = before + b"2026-11-26" + struct.pack(">IIqq", 7, 2, 11, 12)
    assert made.digest == sha256(content).digest()
    assert made.head == sha256(b"holdfast segment 1\0" + numbers + made.digest).digest()
    assert made[:5] == (DAY, 7, 2, 11, 12)


@given(st.lists(st.lists(events, min_size=1, max_size=4), min_size=1, max_size=5), st.data())
def test_a_change_of_any_byte_of_any_link_changes_the_end_of_the_chain(pages, data):
    def chain(contents):
        head = GENESIS
        for number, content in enumerate(contents, 1):
            head = link(head, DAY, number, 1, 2, content).head
        return head

    contents = [b"".join(event.packed for event in page) for page in pages]
    number = data.draw(st.integers(0, len(contents) - 1))
    place = data.draw(st.integers(0, len(contents[number]) - 1))
    changed = bytearray(contents[number])
    changed[place] ^= data.draw(st.integers(1, 255))
    assert chain([*contents[:number], bytes(changed), *contents[number + 1 :]]) != chain(contents)
    assert chain(contents[:-1]) != chain(contents)


@given(st.tuples(digests, days, *[st.integers(0, 2**31 - 1)] * 2, *[st.integers(0, 2**63 - 1)] * 2, digests), st.data())
def test_a_head_covers_each_field_of_its_link(fields, data):
    which = data.draw(st.integers(0, 6))
    strategy = {0: digests, 1: days, 6: digests}.get(which, st.integers(0, 2**31 - 1))
    other = data.draw(strategy.filter(lambda value: value != fields[which]))
    assert head_of(*fields) != head_of(*fields[:which], other, *fields[which + 1 :])


@given(events)
def test_an_event_does_not_differ_from_its_own_entry(event):
    assert differences(entry_of(event), event, event.day) == ()
    assert differences(entry_of(event), event._replace(day=None), DAY) == ()


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("tenant_id", "tenant, name, key or time"),
        ("name", "tenant, name, key or time"),
        ("key", "tenant, name, key or time"),
        ("headers", "headers"),
        ("payload", "payload"),
    ],
)
@given(events, st.data())
def test_what_differs_is_named_and_nothing_else(field, part, event, data):
    strategy = digests if field in {"headers", "payload"} else texts
    other = event._replace(**{field: data.draw(strategy.filter(lambda value: value != getattr(event, field)))})
    assert differences(entry_of(event), other, event.day) == (part,)


@given(st.lists(events, max_size=30, unique_by=lambda event: event.position), st.integers(0, 2**63 - 1))
def test_a_page_becomes_a_link_for_each_day_with_what_is_late_apart(some, highest):
    page = sorted(some)
    groups = grouped(page, highest)
    found = [entry for group in groups for entry in unpacked(group.entries)]
    assert sorted(found) == [entry_of(event) for event in page]
    for group in groups:
        members = list(unpacked(group.entries))
        assert members == sorted(members)
        assert (group.first, group.last) == (members[0].position, members[-1].position)
        assert (group.first > highest) == (group.last > highest)
    kinds = [(group.day, group.first > highest) for group in groups]
    assert len(set(kinds)) == len(kinds)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["log", "seal", "both"])), max_size=6))
def test_at_one_position_nothing_is_left_over_and_ids_go_first(members):
    def event(name):
        return LoggedEvent(1, name.encode() * 16, DAY, 0, "t", "n", None, ABSENT, ABSENT)

    sealed = [Kept(entry_of(event(name)), DAY) for name, place in members if place != "log"]
    logged = [event(name) for name, place in members if place != "seal"]
    pairs = list(matched(sealed, logged))
    assert sorted(kept for kept, _ in pairs if kept) == sorted(sealed)
    assert sorted(found for _, found in pairs if found) == sorted(logged)
    same = sum(min([one.entry.id for one in sealed].count(id_), [one.id for one in logged].count(id_)) for id_ in
               {one.id for one in logged})  # fmt: skip
    assert sum(bool(kept and found and kept.entry.id == found.id) for kept, found in pairs) == same
    alone = [pair for pair in pairs if None in pair]
    assert len({kept is None for kept, _ in alone}) <= 1  # never one of each: they would be an edited id


def test_what_is_no_event_at_all_is_read_as_one_that_differs():
    from holdfast.sealing.rows import as_event

    time = b"2026-11-26T00:00:00.000000Z"
    sound = (1, b"01890a5d-ac96-774b-bcce-b302099a8057", None, time, b"t", b"n", None, None, b"p" * 32)
    entry = entry_of(as_event(sound))
    assert isinstance(entry, Entry)
    for place, value in (
        (1, b"no id"),
        (1, b"x" * 16),
        (1, b"\xff"),
        (3, b"no time"),
        (3, b"\xff"),
        (3, None),
        (4, b"\xff"),
        (8, None),
    ):
        broken = as_event((*sound[:place], value, *sound[place + 1 :]))
        assert differences(entry, broken, DAY) != ()
