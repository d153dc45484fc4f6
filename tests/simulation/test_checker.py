"""The checker is worth what it finds: each anomaly is planted into a good history, and must be named by its rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from holdfast.stores.values import Slice, State
from tests.simulation import checker, order
from tests.simulation.run import play
from tests.simulation.server import Effect, Fact
from tests.simulation.size import LARGE
from tests.simulation.store_leases import Acquired
from tests.simulation.tables import DeliveryRow
from tests.simulation.weather import Faults
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.history import Call

NOBODY = bytes(16)


def is_suitable(world: World) -> bool:
    """Nothing goes wrong in it, and an ordered, transactional handler runs events one at a time."""
    declared = world.declared[0]
    return (
        world.faults == Faults(disorder=world.faults.disorder)
        and checker.is_calm(world)
        and declared.style == "transactional"
        and declared.is_ordered
        and declared.declared_at == 0
    )


@pytest.fixture(scope="module")
def seed() -> int:
    return next(seed for seed in range(10_000) if is_suitable(World(seed, LARGE)))


@pytest.fixture
def world(seed):
    world = World(seed, LARGE)
    world.loop.run(play(world))
    assert checker.check(world) == []
    yield world
    world.close()


def complaints(rule, world) -> list[str]:
    return list(rule(world))


@pytest.fixture
def handled(world) -> Call:
    """A call of the transactional handler that went well, on an event with a key."""
    name = world.declared[0].name
    return next(
        call
        for call in world.history.calls
        if (call.subscription, call.outcome) == (name, "ok") and call.key is not None
    )


def subscription_of(world, call) -> int:
    return call.slice.subscription


def note(world, what, about) -> None:
    world.server.facts.append(Fact(world.history.now(), what, about))


def test_a_lost_publish(world):
    event_id = next(event_id for event_id, publish in world.history.publishes.items() if publish.outcome == "ok")
    del world.server.by_id[event_id]
    assert complaints(checker.lost_publishes, world)


def test_an_event_that_is_not_handled(world, handled):
    del world.server.tables.receipts[subscription_of(world, handled), handled.event_id]
    assert complaints(checker.unhandled, world)


def test_an_event_that_nobody_published(world, handled):
    world.history.calls.append(replace(handled, event_id=NOBODY))
    assert complaints(checker.unexpected, world)


def test_an_event_that_never_committed(world, handled):
    del world.server.by_id[handled.event_id]
    assert complaints(checker.phantoms, world)


def test_an_event_that_was_rolled_back_and_is_stored(world):
    next(iter(world.history.publishes.values())).outcome = "rolled back"
    next(publish for publish in world.history.publishes.values() if publish.outcome == "ok").outcome = "failed"
    assert complaints(checker.phantoms, world)


def test_a_second_effect(world):
    world.server.tables.effects.append(world.server.tables.effects[0])
    assert complaints(checker.effects, world)


def test_a_missing_effect(world):
    world.server.tables.effects.pop()
    assert complaints(checker.effects, world)


def test_an_effect_without_a_receipt(world):
    world.server.tables.effects.append(Effect(world.declared[0].name, NOBODY, 1, 1))
    assert complaints(checker.effects, world)


def test_a_second_completion(world, handled):
    world.history.calls.append(replace(handled))
    assert complaints(checker.completions, world)


def test_a_receipt_without_handling(world, handled):
    handled.outcome = "TroubleError"
    assert complaints(checker.receipts_without_handling, world)


def test_a_receipt_before_the_handler_returned(world, handled):
    handled.ended = world.history.now()
    assert complaints(checker.receipts_without_handling, world)


def pair_of_a_key(world) -> tuple[Call, Call]:
    """The first calls of two events of one key, of which one comes before the other."""
    name = world.declared[0].name
    first = {key: call for key, call in order._first_starts(world).items() if key[0] == name}
    for placed in order._placed_by_key(world).values():
        for earlier in placed:
            for later in placed:
                keys = (name, earlier.entry.row.id), (name, later.entry.row.id)
                if earlier.comes_before(later) and earlier is not later and all(key in first for key in keys):
                    return first[keys[0]], first[keys[1]]
    raise AssertionError("the run has no two events of a key")


def test_an_event_that_overtakes(world):
    earlier, later = pair_of_a_key(world)
    later.started = earlier.started
    later.batch = -1
    assert complaints(order.overtakings, world)


def test_two_events_of_a_key_at_once(world):
    earlier, later = pair_of_a_key(world)
    earlier.ended = later.started + 1
    assert complaints(order.overlaps, world)


def bury(world, handled, attempts: int) -> None:
    row = world.server.find(handled.event_id).row
    buried = DeliveryRow(10**6, handled.slice, row, State.DEAD, attempts)
    world.server.tables.deliveries[buried.id] = buried


def test_a_second_run_by_a_later_owner(world, handled):
    note(world, "acquired", Acquired(handled.slice, 99, None, lost=True, expired=True))
    world.history.calls.append(replace(handled, epoch=99, started=world.history.now()))
    assert complaints(checker.repeats, world)


def test_a_dead_letter_with_too_few_attempts(world, handled):
    bury(world, handled, world.declared[0].max_attempts - 1)
    assert any("attempts" in complaint for complaint in complaints(checker.dead_letters, world))


def test_a_dead_letter_without_records_of_its_attempts(world, handled):
    bury(world, handled, world.declared[0].max_attempts)
    assert any("on record" in complaint for complaint in complaints(checker.dead_letters, world))


def test_a_dead_event_that_runs_again(world, handled):
    note(world, "delivery", (handled.slice, handled.event_id, State.DEAD, 1, 1, 1))
    world.history.calls.append(replace(handled, started=world.history.now()))
    assert complaints(checker.resurrections, world)


def test_poison_that_kills_too_often(world, handled):
    limit = world.declared[0].max_attempts + 2
    world.history.poisonings += [(handled.subscription, handled.event_id)] * (limit + 1)
    assert complaints(checker.poisonings, world)


@pytest.mark.parametrize("has_ended", [False, True])
def test_two_suspects_at_once(world, handled, has_ended):
    process, subscription = handled.process, handled.slice.subscription
    note(world, "counted", (process, subscription, handled.event_id))
    began = world.history.now()
    world.history.calls.append(replace(handled, started=began, ended=world.history.now() if has_ended else None))
    note(world, "counted", (process, subscription, b"b" * 16))
    assert bool(complaints(checker.suspects_together, world)) is not has_ended


@pytest.mark.parametrize(
    ("what", "about"),
    [("cursor", (Slice(1, 0), 1, 2)), ("delivery", (Slice(1, 0), NOBODY, State.RETRYING, 1, 1, 2))],
)
def test_a_write_under_an_old_epoch(world, what, about):
    note(world, what, about)
    assert complaints(checker.old_epochs, world)


def test_a_hand_out_without_a_lease(world, handled):
    world.declared[0].style = "async"
    handled.live = False
    assert complaints(checker.stale_starts, world)


def test_a_task_that_is_left_over(world):
    world.leftovers.append("app0 leaves a task")
    assert complaints(checker.leftovers, world)


def test_every_rule_has_its_anomaly():
    """Whoever adds a rule shows here that it finds something."""
    source = globals()
    named = {name for test in source.values() if callable(test) for name in getattr(test, "__code__", NO_CODE).co_names}
    assert {rule.__name__ for rule in checker.RULES} - named == set()


NO_CODE = compile("", "", "exec")
