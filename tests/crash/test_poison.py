"""One event kills its process each time; it ends dead alone, and its thousand neighbours do not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import first_completions_in_order, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.harness import Bench

POISON, EVENTS, ATTEMPTS = 500, 1000, 3


def supervise(bench: Bench, subscriptions: dict[str, dict[str, object]], done: Callable[[], object]) -> int:
    """Start the worker again whenever it is gone, until *done*; returns how often it was gone."""
    crashes, deadline = 0, time.monotonic() + 60
    worker = bench.work(subscriptions)
    while not done():
        if not worker.is_running:
            crashes += 1
            worker = bench.work(subscriptions)
        assert time.monotonic() < deadline, f"not done after {crashes} crashes"
        time.sleep(0.02)
    wait_until(lambda: worker.has_taken_over, "every take-over is through")
    assert worker.terminate() == 0
    assert all(owner is None for owner, *_ in bench.leases())
    return crashes


def test_a_poison_event_ends_dead_alone(bench: Bench):
    bench.store(range(EVENTS), keys=400)
    options = {"dies": [POISON], "max_attempts": ATTEMPTS, "concurrency": 1000, "seconds": 0.002}
    crashes = supervise(
        bench, {"plain": options},
        lambda: bench.deliveries("dead") and bench.receipt_count("plain") == EVENTS - 1,
    )  # fmt: skip
    assert crashes <= ATTEMPTS + 2
    assert set(bench.times("done")) == set(range(EVENTS)) - {POISON}
    (poison,) = {line["id"] for line in bench.lines("start") if line["n"] == POISON}
    assert bench.deliveries() == [(poison, ATTEMPTS)], "one dead delivery, no row left of any neighbour"
    history = bench.run("select event_id, attempt, outcome from {h}attempts order by id")
    assert [(str(event_id), *rest) for event_id, *rest in history] == [
        (poison, attempt, "worker lost") for attempt in range(1, ATTEMPTS + 1)
    ]
    assert bench.receipts("plain").keys().isdisjoint({poison})
    # A neighbour may run again with each crash, never more often.
    assert max(bench.times("done").values()) <= crashes + 1


def test_two_poison_events_of_one_key_end_dead_in_turn(pg: Bench):
    pg.store(range(20), key="k")
    options = {"dies": [5, 6], "max_attempts": 2}
    crashes = supervise(
        pg, {"plain": options}, lambda: len(pg.deliveries("dead")) == 2 and pg.receipt_count("plain") == 18
    )
    assert crashes <= 2 * (2 + 2)
    assert [line["n"] for line in pg.lines("done")][-13:] == list(range(7, 20))


IN_ITS_KEY, POISONOUS = range(12), 5
BESIDE = range(12, 24)


def poisoned(bench: Bench, on_dead: str) -> None:
    """A key with poison in its middle, and another key, until nothing more can be done about them."""
    bench.store(IN_ITS_KEY, key="k")
    bench.store(BESIDE, key="beside")
    options = {"dies": [POISONOUS], "max_attempts": 2, "on_dead": on_dead}
    reached = len(IN_ITS_KEY) - 1 if on_dead == "continue" else POISONOUS
    crashes = supervise(
        bench, {"plain": options},
        lambda: bench.deliveries("dead") and bench.receipt_count("plain") == reached + len(BESIDE),
    )  # fmt: skip
    assert crashes <= 2 + 2


def test_a_key_goes_on_behind_its_poison(bench: Bench):
    poisoned(bench, "continue")
    assert len(bench.deliveries()) == 1
    assert set(bench.times("done")) == {*IN_ITS_KEY, *BESIDE} - {POISONOUS}
    first_completions_in_order(bench.lines())


@pytest.mark.parametrize("decision", ["retry", "discard"])
def test_a_key_is_held_behind_its_poison_until_somebody_decides(bench: Bench, decision: str):
    poisoned(bench, "hold")
    bench.store([24], key="k")
    bench.store([25], key="beside")
    worker = bench.work({"plain": {"on_dead": "hold"}})
    wait_until(lambda: bench.times("done")[25] == 1, "the other key goes on")
    wait_until(lambda: len(bench.deliveries("pending")) == 7, "the newest one waits behind the others")
    assert max(line["n"] for line in bench.lines("start") if line["key"] == "k") == POISONOUS

    bench.command("dead", decision, "--subscription", "plain", "--yes")
    wait_until(lambda: bench.deliveries("pending") == [], "the key goes on")
    wait_until(lambda: bench.unsettled() == 0, "nothing is left to do")
    assert worker.terminate() == 0
    assert bench.times("done")[POISONOUS] == (decision == "retry")
    assert {*bench.times("done")} | {POISONOUS} == set(range(26))
    first_completions_in_order(bench.lines())


def test_a_poison_event_in_a_transaction_leaves_no_effect(bench: Bench):
    bench.store(range(60))
    options = {"kind": "effect", "dies": [30], "max_attempts": 2, "concurrency": 8, "partitions": 4}
    crashes = supervise(
        bench, {"effects": options}, lambda: bench.deliveries("dead") and bench.receipt_count("effects") == 59
    )
    assert crashes <= 2 + 2
    assert len(bench.effects("effects")) == 59
    assert set(bench.effects("effects").values()) == {1}
