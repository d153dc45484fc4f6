from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from holdfast.dashboard.pages.lineage import picture
from holdfast.stores.records import CausationNode, CausationTree, EventRecord


def node(number, cause=None):
    event = EventRecord(
        number,
        UUID(int=number),
        "acme",
        f"step.{number}",
        None,
        "processed",
        0,
        datetime(2030, 1, 31, tzinfo=UTC),
        None,
        2,
    )
    return CausationNode(event, None if cause is None else str(UUID(int=cause)))


def drawn(*nodes, around=1):
    found = picture(CausationTree(UUID(int=around), nodes, complete=True))
    return found, [(place.event.position, place.x, place.line is not None) for place in found.places]


def test_effects_stand_below_their_cause_and_one_step_to_the_right():
    found, places = drawn(node(1), node(2, 1), node(3, 1), node(4, 2), around=2)
    assert [(number, line) for number, _, line in places] == [(1, False), (2, True), (4, True), (3, True)]
    left = {number: x for number, x, _ in places}
    assert left[1] < left[2] == left[3] < left[4]
    assert [place.event.position for place in found.places if place.is_self] == [2]
    assert len({place.y for place in found.places}) == 4
    assert found.width > left[4]
    assert found.height > max(place.y for place in found.places)


def test_a_cause_that_is_not_stored_any_more_draws_no_line():
    _, places = drawn(node(5, 4), node(6, 5), around=5)
    assert [(number, line) for number, _, line in places] == [(5, False), (6, True)]


def test_circles_and_long_chains_come_to_an_end():
    _, places = drawn(node(1, 1), node(2, 1))
    assert [number for number, *_ in places] == [1, 2]
    # Nothing leads into a circle, so nothing of it is drawn; the page then leaves the picture out.
    assert drawn(node(1, 2), node(2, 1))[1] == []
    found, places = drawn(node(1), *(node(number, number - 1) for number in range(2, 2000)))
    assert len(places) == 1999
    assert max(x for _, x, _ in places) < 400, "steps to the right are bounded"
