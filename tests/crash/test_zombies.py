"""A worker that stops past its lease and then goes on: what it does late harms nobody."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.crash.harness import wait_until, write_lock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.harness import Bench, Child

# One lease, and some time for the rest.
TAKEN_OVER = 15.0


class Scene:
    """One event in the hands of a worker that stops, and of its successor; each waits for a gate of its own."""

    def __init__(self, bench: Bench, **zombie: Any) -> None:
        self.bench = bench
        self.late, self.next = bench.folder / "late", bench.folder / "next"
        self.zombie = self.work(self.late, **zombie)
        bench.store([0, 1], key="k")
        wait_until(lambda: bench.lines("start"), "the first event is in hand")
        with write_lock(bench):
            self.zombie.stop()
        self.successor = self.work(self.next, **{name: zombie[name] for name in ("kind", "timeout") if name in zombie})

    def work(self, gate: Path, **options: Any) -> Child:
        return self.bench.work({"s": {"partitions": 1, "waits_from": 0, "gate": str(gate), "timeout": 5} | options})

    def starts(self, worker: Child) -> list[int]:
        return [line["n"] for line in self.bench.lines("start") if line["pid"] == worker.pid]

    def wake_the_zombie(self) -> None:
        self.late.touch()
        self.zombie.send(signal.SIGCONT)
        wait_until(lambda: "the lease of epoch" in self.zombie.text(), "the zombie has noticed")

    def finish(self) -> None:
        self.next.touch()
        wait_until(lambda: self.bench.receipt_count("s") == 2, "both events are settled")
        # Of two that live the one with the lower id has the only partition: it may be given back in the midst of this.
        wait_until(
            lambda: self.successor.has_taken_over or "what its lost worker" in self.zombie.text(),
            "the take-over is through",
        )
        self.late.touch()
        assert self.zombie.terminate() == 0
        assert self.successor.terminate() == 0
        assert set(self.bench.receipts("s").values()) == {1}
        assert self.bench.deliveries() == []
        assert self.bench.leases() == [(None, True, 0)]


def test_a_late_success_while_the_successor_runs_the_event(bench: Bench):
    scene = Scene(bench)
    wait_until(lambda: scene.starts(scene.successor) == [0], "the successor runs the event", TAKEN_OVER)
    assert bench.deliveries("running"), "carefully"
    scene.wake_the_zombie()
    wait_until(lambda: bench.times("done")[0] == 1, "the zombie has completed it")
    scene.finish()
    assert scene.starts(scene.zombie) == [0], "the key's next event is not the zombie's any more"
    assert bench.times("done") == {0: 2, 1: 1}


def test_a_late_success_after_the_successor_is_done(bench: Bench):
    scene = Scene(bench)
    scene.next.touch()
    wait_until(lambda: bench.receipt_count("s") == 2, "the successor has settled both", TAKEN_OVER)
    first = bench.run("select event_id, processed_at from {h}event_consumers order by event_id")
    scene.wake_the_zombie()
    wait_until(lambda: bench.times("done")[0] == 2, "the zombie has completed it too")
    scene.finish()
    assert bench.run("select event_id, processed_at from {h}event_consumers order by event_id") == first


@pytest.mark.parametrize("ending", ["fails", "rejects"])
def test_a_late_failure_is_fenced(bench: Bench, ending: str):
    scene = Scene(bench, **{ending: [0]})
    wait_until(lambda: scene.starts(scene.successor) == [0], "the successor runs the event", TAKEN_OVER)
    row = bench.run("select id, state, attempts, updated_at from {h}deliveries")
    scene.wake_the_zombie()
    wait_until(lambda: "at attempt 1" in scene.zombie.text(), "the zombie's handler has failed")
    assert scene.zombie.terminate() == 0  # it writes what it has to write before it goes
    assert bench.run("select id, state, attempts, updated_at from {h}deliveries") == row
    assert bench.run("select * from {h}attempts") == []
    assert bench.run("select event_name from {h}event_log where event_name like 'holdfast%'") == []
    scene.finish()
    assert bench.times("done") == {0: 1, 1: 1}


def test_a_late_failure_after_the_successor_is_done_leaves_no_row(bench: Bench):
    scene = Scene(bench, fails=[0])
    scene.next.touch()
    wait_until(lambda: bench.receipt_count("s") == 2, "the successor has settled both", TAKEN_OVER)
    scene.wake_the_zombie()
    wait_until(lambda: "at attempt 1" in scene.zombie.text(), "the zombie's handler has failed")
    scene.finish()
    assert bench.run("select * from {h}attempts") == []


def test_a_transactional_zombie_holds_nobody_up_and_has_no_second_effect(pg: Bench):
    """Its transaction stays open while it stands still; the handler's own timeout bounds how long that lasts."""
    scene = Scene(pg, kind="effect", timeout=2)
    scene.next.touch()
    wait_until(lambda: sum(pg.effects("s").values()) == 2, "the successor has handled both", TAKEN_OVER)
    scene.wake_the_zombie()
    scene.finish()
    assert sorted(pg.effects("s").values()) == [1, 1]


def test_a_transactional_zombie_that_wakes_in_time_has_one_effect(pg: Bench):
    scene = Scene(pg, kind="effect")
    wait_until(lambda: "working" in scene.successor.text(), "the successor is there", TAKEN_OVER)
    scene.next.touch()
    scene.late.touch()
    scene.zombie.send(signal.SIGCONT)
    scene.finish()
    assert sorted(pg.effects("s").values()) == [1, 1]
