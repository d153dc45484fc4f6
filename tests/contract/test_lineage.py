"""What caused an event and what it caused, the same on both stores, with and without the search index."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from holdfast.errors import NotFound
from holdfast.stores import searching

if TYPE_CHECKING:
    from holdfast.stores.records import CausationTree
    from tests.contract.desk import Desk


@pytest.fixture(params=["by the log", "by the index"])
async def family(request: pytest.FixtureRequest, desk: Desk) -> Desk:
    """A desk whose store has the index "causation" or not."""
    if request.param == "by the index":
        await desk.operator.add_index("causation", actor="me")
    return desk


async def caused_by(desk: Desk, cause: UUID | str, name: str = "order.placed") -> UUID:
    (found,) = await desk.publish(name, headers=b'{"causation_id": "%s", "x": "y"}' % str(cause).encode())
    return found


def ids(tree: CausationTree) -> list[UUID]:
    return [node.event.id for node in tree.nodes]


async def test_a_family_is_found_from_each_of_its_members(family: Desk) -> None:
    (first,) = await family.publish()
    await family.publish(n=3)
    left, right = await caused_by(family, first, "order.paid"), await caused_by(family, first)
    await family.publish(n=3)
    last = await caused_by(family, left, "order.sent")
    tree = await family.inspector.causation(first)
    assert (ids(tree), tree.complete) == ([first, left, right, last], True)
    assert [node.cause for node in tree.nodes] == [None, str(first), str(first), str(left)]
    tree = await family.inspector.causation(left)
    assert ids(tree) == [first, left, last]
    assert [(node.event.name, node.event.status, node.event.tenant_id) for node in tree.nodes][1] == (
        "order.paid", "processed", "acme",
    )  # fmt: skip
    assert ids(await family.inspector.causation(right)) == [first, right]


async def test_a_cause_that_is_gone_is_named(family: Desk) -> None:
    gone = uuid4()
    orphan = await caused_by(family, gone)
    (node,) = (await family.inspector.causation(orphan)).nodes
    assert node.cause == str(gone)


@pytest.mark.parametrize("cause", ["not an id", '{\\"', "\\ud800", "c" * 5_000])
async def test_a_cause_that_is_no_event_is_none(family: Desk, cause: str) -> None:
    (first,) = await family.publish()
    odd = await caused_by(family, cause)
    assert ids(await family.inspector.causation(odd)) == [odd]
    assert ids(await family.inspector.causation(first)) == [first]


async def test_a_circle_ends(family: Desk) -> None:
    one, other = uuid4(), uuid4()
    for event, cause in ((one, other), (other, one)):
        await family.publish(event_id=event, headers=b'{"causation_id": "%s"}' % str(cause).encode())
    assert ids(await family.inspector.causation(one)) == [other, one]


async def test_no_more_are_shown_than_were_asked_for(family: Desk) -> None:
    (first,) = await family.publish()
    for _ in range(4):
        await caused_by(family, first)
    tree = await family.inspector.causation(first, limit=3)
    assert (len(tree.nodes), tree.complete) == (4, False)


async def test_without_the_index_so_many_are_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "LOOKED_MAX", 5)
    (first,) = await desk.publish()
    near = await caused_by(desk, first)
    await desk.publish(n=5)
    far = await caused_by(desk, first)
    tree = await desk.inspector.causation(first)
    assert (ids(tree), tree.complete, tree.would_help) == ([first, near], False, "causation")
    await desk.operator.add_index("causation", actor="me")
    tree = await desk.inspector.causation(first)
    assert (ids(tree), tree.complete, tree.would_help) == ([first, near, far], True, None)


async def test_an_unknown_event(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.inspector.causation(uuid4())
