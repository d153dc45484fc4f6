"""A handler stops its worker's event loop for three leases: another takes over, and the worker goes on afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.crash.harness import LEASE_TTL, first_completions_in_order, wait_until

if TYPE_CHECKING:
    from tests.crash.harness import Bench, Child

KEYS, STILL = 8, 20


class Scene:
    """A worker whose loop an event stops, with more of them in hand, and another worker that comes then."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.bench, self.gate = bench, bench.folder / "gate"
        options |= {"partitions": 4}
        self.still = bench.work({"s": options | {"stands_still": [STILL], "gate": str(self.gate)}})
        bench.store(range(STILL), keys=KEYS)
        wait_until(lambda: bench.receipt_count("s") == STILL, "what came before is settled")
        bench.store(range(STILL, 40), keys=KEYS)
        wait_until(lambda: bench.times("start")[STILL] == 1, "a handler has stopped the loop")
        self.since = time.monotonic()
        self.other = bench.work({"s": options})

    def go_on(self) -> None:
        """Let the loop go on, after three leases."""
        wait_until(lambda: time.monotonic() > self.since + 3 * LEASE_TTL, "three leases are over")
        self.gate.touch()

    def notice(self) -> None:
        wait_until(lambda: "the lease of epoch" in self.still.text(), "the worker knows that its leases are over")

    def finish(self) -> None:
        """Both work on what comes next, and nothing is wrong with what came before."""
        bench, workers = self.bench, (self.still, self.other)
        wait_until(lambda: bench.receipt_count("s") == 40, "all are settled")
        wait_until(lambda: bench.shares() == [2, 2], "they share the partitions")
        wait_until(lambda: all(worker.has_taken_over for worker in workers), "every take-over is through")
        bench.store(range(40, 80), keys=KEYS)
        wait_until(lambda: bench.receipt_count("s") == 80, "what came later is settled")
        assert [worker.terminate() for worker in workers] == [0, 0]
        assert all(max(self.numbers(worker)) >= 40 for worker in workers), "both have worked on"
        assert bench.receipts("s") == dict.fromkeys(bench.completed("s"), 1)
        assert bench.deliveries() == []
        assert bench.leases() == [(None, True, 0)] * 4
        first_completions_in_order(bench.lines())

    def numbers(self, worker: Child) -> list[int]:
        return [line["n"] for line in self.bench.lines("done") if line["pid"] == worker.pid]


def test_one_event_runs_twice_and_in_order_where_the_loop_stood_still(bench: Bench):
    scene = Scene(bench)
    wait_until(lambda: bench.receipt_count("s") == 40, "the other one has settled everything")
    scene.go_on()
    scene.notice()
    scene.finish()
    once = dict.fromkeys(range(80), 1)
    assert bench.times("start") == bench.times("done") == once | {STILL: 2}


def test_a_transaction_in_which_the_loop_stood_still_has_one_effect(bench: Bench):
    scene = Scene(bench, kind="effect")
    scene.go_on()
    if not bench.is_sqlite:  # there it has the file for itself meanwhile, and nobody can take its leases
        scene.notice()
    scene.finish()
    assert bench.effects("s") == bench.receipts("s")
    effects = bench.run("select event_key, n from effects order by id")
    for key in {key for key, _ in effects}:
        numbers = [number for its, number in effects if its == key]
        assert numbers == sorted(numbers), f"effects of {key} are in the order {numbers}"
