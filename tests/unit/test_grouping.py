"""Which calls go together: every order of adding, taking, answering and cancelling, made up by hypothesis."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.event import NewEvent
from holdfast.grouping import Queue, Request
from holdfast.ids import new_id


def request(*keys: str | None, atomic: bool = False) -> Request:
    events = [NewEvent(new_id(), "acme", "a", key, b"1") for key in keys]
    return Request(events, Future(), atomic)  # cancelled like one of asyncio, and needs no loop


def queue_of(*requests: Request, abreast: int = 2) -> Queue:
    queue = Queue(abreast)
    for one in requests:
        queue.add(one)
    return queue


class Calls(RuleBasedStateMachine):
    """What is taken, against the order in which it was added."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(2)
        self.added: list[Request] = []
        self.taken: list[Request] = []
        self.under_way: list[list[Request]] = []

    @rule(keys=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=3), atomic=st.booleans())
    def add(self, keys, atomic):
        self.added.append(request(*keys, atomic=atomic))
        self.queue.add(self.added[-1])

    @precondition(lambda self: len(self.under_way) < 2)
    @rule()
    def take(self):
        if group := self.queue.take():
            assert len(group) == 1 or not any(one.atomic for one in group)
            assert not any(one.answer.cancelled() for one in group)
            self.taken += group
            self.under_way.append(group)

    @precondition(lambda self: self.under_way)
    @rule(place=st.integers(0, 1))
    def release(self, place):
        self.queue.release(self.under_way.pop(place % len(self.under_way)))

    @precondition(lambda self: len(self.taken) < len(self.added))
    @rule(data=st.data())
    def cancel(self, data):
        waiting = [one for one in self.added if one not in self.taken]
        data.draw(st.sampled_from(waiting)).answer.cancel()

    @invariant()
    def no_key_is_in_two_groups(self):
        if len(self.under_way) == 2:
            first, second = (set().union(*(one.keys for one in group)) for group in self.under_way)
            assert first.isdisjoint(second)

    @invariant()
    def calls_of_a_key_are_taken_in_their_order(self):
        for key in "abc":
            places = [self.added.index(one) for one in self.taken if ("acme", key) in one.keys]
            assert places == sorted(places)

    def teardown(self):
        for group in self.under_way:
            self.queue.release(group)
        while group := self.queue.take():
            self.taken += group
            self.queue.release(group)
        assert len(self.queue) == 0
        wanted = [one for one in self.added if not one.answer.cancelled()]
        assert all(one in self.taken for one in wanted)
        assert len(self.taken) == len(set(map(id, self.taken)))


TestCalls = Calls.TestCase


def test_one_key_is_never_beside_itself():
    first, second = request("a"), request("a")
    queue = queue_of(first)
    group = queue.take()
    queue.add(second)
    assert queue.take() == []
    queue.release(group)
    assert queue.take() == [second]


def test_whoever_shares_a_key_with_one_who_waits_waits_too():
    under_way, behind, behind_that, free = request("a"), request("a", "b", atomic=True), request("b"), request("c")
    queue = queue_of(under_way)
    queue.take()
    for one in (behind, behind_that, free):
        queue.add(one)
    assert queue.take() == [free]
    assert len(queue) == 2


def test_events_without_a_key_go_beside_each_other():
    queue = queue_of(request(None))
    queue.take()
    queue.add(other := request(None))
    assert queue.take() == [other]


@pytest.mark.parametrize(("abreast", "sizes"), [(1, [300]), (2, [150, 150])])
def test_many_who_come_at_once_are_halved_where_two_groups_may_be_under_way(abreast, sizes):
    queue = queue_of(*(request(f"k{n}") for n in range(300)), abreast=abreast)
    assert [len(queue.take()) for _ in range(abreast)] == sizes


def test_few_are_not_halved():
    assert len(queue_of(*(request(f"k{n}") for n in range(64))).take()) == 64


def test_a_group_has_its_bounds():
    queue = queue_of(*(request(f"k{n}") for n in range(1200)), abreast=1)
    assert len(queue.take()) == 500


def test_a_crowd_behind_one_key_is_not_gone_through_to_its_end():
    queue = queue_of(request("a"))
    queue.take()
    for _ in range(600):
        queue.add(request("a"))
    queue.add(request("b"))
    assert queue.take() == []
    assert len(queue) == 601
