"""SIGTERM: everything is handed back, and what comes next goes on without a repeat."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import no_overlap, wait_until

if TYPE_CHECKING:
    from tests.crash.harness import Bench


@pytest.mark.parametrize(
    "options", [{"concurrency": 16}, {"kind": "batch", "batch": 20, "concurrency": 1}], ids=["plain", "batch"]
)
def test_sigterm_in_mid_batch_repeats_nothing(bench: Bench, options: dict[str, object]):
    bench.store(range(600), keys=30)
    subscriptions = {"s": options | {"seconds": 0.02}}
    for handled in (100, 250, 400):
        worker = bench.work(subscriptions)
        wait_until(lambda: len(bench.lines("done")) >= handled, f"{handled} are handled")  # noqa: B023
        assert worker.terminate() == 0
        assert [owner for owner, *_ in bench.leases()] == [None] * 8, "leases are given back"
        assert bench.deliveries("running") == []
        assert bench.receipt_count("s") == len(bench.lines("done")), "what was handled is on record"
    assert len(bench.lines("done")) < 600, "the last one left something to do"
    worker = bench.work({"s": options})
    wait_until(lambda: bench.receipt_count("s") == 600, "the rest is handled")
    bench.store(range(600, 700), keys=50)  # handled after everything before was looked up, in every partition
    wait_until(lambda: bench.receipt_count("s") == 700, "what came later is handled")
    assert worker.terminate() == 0
    assert bench.times("start") == bench.times("done") == dict.fromkeys(range(700), 1)
    assert bench.leases() == [(None, True, 0)] * 8, "nothing waited: the cursors are exact"
    assert bench.run("select * from {h}workers") == []


def test_sigterm_while_retries_are_in_hand_burns_no_attempt(bench: Bench):
    """Rows that were claimed and not run go back as they were."""
    options = {"fails": list(range(40)), "base": 0, "max_attempts": 1000, "seconds": 0.05, "concurrency": 4}
    bench.store(range(40))
    for attempts in (60, 120):
        worker = bench.work({"s": options})
        wait_until(lambda: len(bench.lines("start")) >= attempts, f"{attempts} attempts")  # noqa: B023
        assert worker.terminate() == 0
        assert bench.deliveries("running") == []
        starts = bench.times("start")
        counted = dict(bench.deliveries())
        assert sum(counted.values()) == sum(starts.values()), "each attempt that ran is counted, and no other"
    worker = bench.work({"s": {}})
    wait_until(lambda: bench.receipt_count("s") == 40, "the rest is handled")
    assert worker.terminate() == 0
    assert bench.times("done") == dict.fromkeys(range(40), 1)


def test_a_handler_that_outlasts_the_grace_is_handed_back(bench: Bench):
    bench.store(range(3), key="k")
    options = {"waits_from": 1, "gate": str(bench.folder / "gate")}
    worker = bench.work({"s": options}, stop_timeout=0.5)
    wait_until(lambda: bench.times("start")[1] == 1, "the second is in hand")
    assert worker.terminate() == 0
    assert bench.deliveries() == [], "no attempt was counted"
    worker = bench.work({"s": {}})
    wait_until(lambda: bench.receipt_count("s") == 3, "the rest is handled")
    assert worker.terminate() == 0
    assert bench.times("done") == {0: 1, 1: 1, 2: 1}
    assert {line["attempt"] for line in bench.lines("done")} == {1}


def test_a_second_sigterm_aborts(bench: Bench):
    bench.store([0])
    worker = bench.work({"s": {"waits_from": 0, "gate": str(bench.folder / "gate")}}, stop_timeout=30)
    wait_until(lambda: bench.times("start")[0] == 1, "it is in hand")
    worker.send(signal.SIGTERM)
    worker.send(signal.SIGTERM)
    wait_until(lambda: "stopping" in worker.text(), "the first has been heard")
    heard = time.monotonic()
    wait_until(lambda: time.monotonic() > heard + 0.2, "it could be meant")
    assert worker.is_running, "two at once are one: wrappers send it to the process and to its group"
    assert worker.terminate(10) == 130
    worker = bench.work({"s": {}})
    wait_until(lambda: bench.receipt_count("s") == 1, "it is handled")
    assert worker.terminate() == 0


def test_workers_that_join_and_leave_share_fairly_without_repeats(bench: Bench):
    subscriptions = {"s": {"partitions": 12, "concurrency": 8, "seconds": 0.005}}
    publisher = bench.publish(keys=24, per_second=60, store_timeout=10)
    workers = [bench.work(subscriptions)]
    wait_until(lambda: bench.shares() == [12], "one has all")
    workers.append(bench.work(subscriptions))
    wait_until(lambda: bench.shares() == [6, 6], "two have half each", 10)
    workers.append(bench.work(subscriptions))
    wait_until(lambda: bench.shares() == [4, 4, 4], "three have a third each", 10)
    assert workers[0].terminate() == 0
    wait_until(lambda: bench.shares() == [6, 6], "the first one's are divided", 10)
    assert set(Counter(line["id"] for line in bench.lines("done")).values()) == {1}, "no repeats while all say goodbye"
    workers[1].kill()
    wait_until(lambda: bench.shares() == [12], "the last one has all", 10)
    assert publisher.terminate() == 0
    published = bench.published()
    wait_until(lambda: bench.receipt_count("s") == len(published), "lag is 0")
    assert workers[2].terminate() == 0
    assert bench.completed("s") == published
    no_overlap(bench.lines(), {workers[1].pid: workers[1].killed_at or 0.0})
