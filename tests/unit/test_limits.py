"""Who may go: rules of `LimitedLanes` and its gates, with time as a number."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import EventBus, Limit
from holdfast.errors import InvalidSubscription
from holdfast.event import Row
from holdfast.worker.hand import InHand
from holdfast.worker.limits import Gate, LimitedLanes

if TYPE_CHECKING:
    from collections.abc import Sequence


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def item(number: int, tenant: str, key: str | None) -> InHand:
    row = Row(number, number.to_bytes(16), 0, 0, 0, tenant, "a", key, b"null", None)
    return InHand(row, None, None if key is None else (tenant, key), 0)  # type: ignore[arg-type]


def lanes_of(limits: Sequence[Limit], part: float = 1.0) -> tuple[LimitedLanes, Clock]:
    clock = Clock()
    return LimitedLanes(limits, clock, lambda: part), clock


def go_on(lanes: LimitedLanes, clock: Clock) -> bool:
    """Let time pass until somebody may go; False where nobody will by time alone."""
    while not lanes.has_next():
        if (seconds := lanes.opens_in()) is None:
            return False
        clock.now += max(seconds, 1e-6)
    return True


limits = st.lists(
    st.one_of(
        st.builds(
            Limit, st.just("tenant"), rate=st.none() | st.floats(0.5, 2_000), at_once=st.integers(1, 3),
        ),
        st.builds(Limit, st.just("tenant"), rate=st.floats(0.5, 2_000), burst=st.none() | st.integers(1, 10)),
        st.builds(Limit, st.just("key"), rate=st.floats(0.5, 2_000), burst=st.none() | st.integers(1, 10)),
    ),
    max_size=2, min_size=1, unique_by=lambda limit: limit.per,
)  # fmt: skip
events = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["k", "l", None])), max_size=40)


@given(limits, events, st.integers(1, 4), st.sampled_from([0.25, 1.0]))
def test_all_go_once_in_order_and_none_too_early(
    limits: list[Limit], events: list[tuple[str, str | None]], most: int, part: float
) -> None:
    lanes, clock = lanes_of(limits, part)
    items = [item(number, *one) for number, one in enumerate(events)]
    lanes.add_all(items[: len(items) // 2])
    later = items[len(items) // 2 :]
    running: list[InHand] = []
    began: list[tuple[float, InHand]] = []
    while len(began) < len(items):
        if len(running) < most and go_on(lanes, clock):
            taken = lanes.take()
            running.append(taken)
            began.append((clock.now, taken))
            lanes.still_run([taken])
        elif running:
            ended = running.pop(0)
            lanes.free(ended.key)
            lanes.ended([ended])
        else:
            assert later, "somebody waits, and nobody runs for whom"
            lanes.add(later.pop(0))
        if later and len(began) % 3 == 0:
            lanes.add(later.pop(0))
        assert_not_too_many(running, limits)
    assert sorted(one.row.position for _, one in began) == list(range(len(items)))
    assert_in_order(began)
    for limit in limits:
        assert_rate(began, limit, part)


def assert_not_too_many(running: list[InHand], limits: list[Limit]) -> None:
    for limit in limits:
        if limit.at_once is not None:
            assert all(n <= limit.at_once for n in Counter(one.row.tenant_id for one in running).values())


def assert_in_order(began: list[tuple[float, InHand]]) -> None:
    by_key = defaultdict(list)
    for _, one in began:
        if one.key is not None:
            by_key[one.key].append(one.row.position)
    assert all(positions == sorted(positions) for positions in by_key.values())


def assert_rate(began: list[tuple[float, InHand]], limit: Limit, part: float) -> None:
    if limit.rate is None:
        return
    rate = limit.rate * part
    burst = max(1.0, rate * 0.1 if limit.burst is None else limit.burst * part)
    by_group = defaultdict(list)
    for at, one in began:
        if limit.per == "tenant":
            by_group[one.row.tenant_id, None].append(at)
        elif one.key is not None:
            by_group[one.key].append(at)
    for times in by_group.values():
        for first in range(len(times)):
            for last in range(first + 1, len(times)):
                assert last - first + 1 <= burst + rate * (times[last] - times[first]) * (1 + 1e-9) + 1e-2


def test_events_of_a_tenant_go_first_come_first_served() -> None:
    lanes, clock = lanes_of([Limit("tenant", rate=10, burst=1)])
    lanes.add_all([item(n, "a", None) for n in range(5)])
    found = []
    while go_on(lanes, clock):
        found.append((lanes.take().row.position, round(clock.now, 3)))
    assert found == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]


def test_who_waits_goes_before_who_comes_later() -> None:
    lanes, clock = lanes_of([Limit("tenant", rate=10, burst=1)])
    lanes.add_all([item(0, "a", None), item(1, "a", None)])
    assert lanes.has_next()
    assert lanes.take().row.position == 0
    assert not lanes.has_next()
    clock.now = 0.1
    lanes.add(item(2, "a", None))
    found = []
    while go_on(lanes, clock):
        found.append(lanes.take().row.position)
    assert found == [1, 2]


def test_who_waits_goes_first_also_where_its_workers_part_has_grown_meanwhile() -> None:
    """More may go at once then, before the time that was told to who waits."""
    parts, clock = [0.5], Clock()
    lanes = LimitedLanes([Limit("tenant", rate=1, burst=2)], clock, lambda: parts[0])
    lanes.add_all([item(0, "a", None), item(1, "a", None)])
    assert lanes.has_next()
    assert lanes.take().row.position == 0
    assert not lanes.has_next()
    parts[0], clock.now = 1.0, 1.5
    lanes.add(item(2, "a", None))
    found = []
    while go_on(lanes, clock):
        found.append(lanes.take().row.position)
    assert found == [1, 2]


def test_another_tenant_passes_by() -> None:
    lanes, _ = lanes_of([Limit("tenant", rate=1, burst=1)])
    lanes.add_all([*(item(n, "a", None) for n in range(3)), item(3, "b", None)])
    assert lanes.has_next()
    assert lanes.take().row.position == 0
    assert lanes.has_next()
    assert lanes.take().row.position == 3
    assert not lanes.has_next()
    assert lanes.opens_in() == pytest.approx(1.0)
    assert lanes.tenants_held_up == {"a": 1}


def test_what_ended_at_once_leaves_its_place_to_the_next() -> None:
    lanes, _ = lanes_of([Limit("tenant", at_once=1)])
    first, second = item(0, "a", None), item(1, "a", None)
    lanes.add_all([first, second])
    assert lanes.has_next()
    assert lanes.take() is first
    assert not lanes.has_next()
    assert lanes.opens_in() is None
    lanes.still_run([])
    assert lanes.has_next()
    assert lanes.take() is second


def test_a_batch_takes_no_more_of_a_lane_than_may_go() -> None:
    lanes, _ = lanes_of([Limit("key", rate=10, burst=3)])
    lanes.add_all([item(n, "a", "k") for n in range(5)])
    assert lanes.has_next()
    assert lanes.take().row.position == 0
    behind = [lanes.take_behind(("a", "k")) for _ in range(3)]
    assert [one and one.row.position for one in behind] == [1, 2, None]


def test_a_key_that_waits_is_taken_out_whole_and_in_order() -> None:
    lanes, _ = lanes_of([Limit("key", rate=1, burst=1)])
    lanes.add_all([*(item(n, "a", "k") for n in range(6)), item(6, "a", "l")])
    assert lanes.has_next()
    assert lanes.take().row.position == 0
    assert lanes.free(("a", "k"))
    assert lanes.has_next()
    assert lanes.take().row.position == 6
    assert not lanes.has_next()
    assert lanes.take_lanes_held_up(5) == []
    assert [one.row.position for one in lanes.take_lanes_held_up(4)] == [1, 2, 3, 4, 5]
    assert not lanes.has_next()
    assert not lanes.free(("a", "k"))


def test_groups_that_may_go_again_are_forgotten() -> None:
    gate = Gate(Limit("tenant", rate=1_000, burst=1))
    for number in range(10_000):
        gate.enter((f"t{number}", None), number, 1.0)
    assert len(gate._used_up_at) < 2_000


@pytest.mark.parametrize(
    "limit", [Limit("tenant", rate=1, burst=1), Limit("tenant", at_once=1)], ids=["rate", "at once"]
)
def test_a_look_at_what_comes_next_uses_nothing_up(limit: Limit) -> None:
    """A probe looks twice: had the look used up what may go, it would never go."""
    lanes, _ = lanes_of([limit])
    lanes.add_all(item(number, "a", None) for number in range(2))
    for _ in range(3):
        assert lanes.has_next()
        assert not lanes.has_awaited  # looks at all of them, those that wait included
    assert lanes.has_next()
    assert lanes.take().row.position == 0
    assert not lanes.has_next()


def test_less_than_a_moment_is_no_wait() -> None:
    """Or a clock that cannot show it would stand still for ever."""
    gate = Gate(Limit("tenant", rate=3, burst=1))
    gate.enter(("a", None), 1e9, 1.0)
    assert gate.wait(("a", None), math.nextafter(1e9 + 1 / 3, 0), 1.0) == 0.0


async def nothing(event: Any) -> None: ...


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Limit("tenant"), "limits nothing"),
        (lambda: Limit("planet", rate=1), "limits.per"),  # type: ignore[arg-type]
        (lambda: Limit("tenant", rate=0), "limits.rate"),
        (lambda: Limit("tenant", rate=float("nan")), "limits.rate"),
        (lambda: Limit("tenant", at_once=0), "limits.at_once"),
        (lambda: Limit("tenant", at_once=True), "limits.at_once"),
        (lambda: Limit("key", at_once=1), "a key has one at once"),
        (lambda: Limit("tenant", rate=1, burst=0), "limits.burst"),
        (lambda: Limit("tenant", at_once=1, burst=1), "without a rate"),
        (lambda: subscribed(limits=3), "limits is 3"),
        (lambda: subscribed(limits=[Limit("tenant", rate=1), Limit("tenant", at_once=1)]), "2 limits per tenant"),
        (lambda: subscribed(limits=Limit("key", rate=1), ordering="none"), "per key with ordering"),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_door(make: Any, words: str) -> None:
    with pytest.raises(InvalidSubscription, match=words):
        make()


def subscribed(**options: Any) -> None:
    EventBus("sqlite://").subscribe("a", nothing, **options)
