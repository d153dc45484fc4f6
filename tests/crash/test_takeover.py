"""The take-over state machine, step by step, with real kills between the steps."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.crash.harness import LEASE_TTL, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.harness import Bench, Child


def drained(bench: Bench, worker: Child, receipts: int, subscription: str = "plain") -> None:
    wait_until(lambda: bench.receipt_count(subscription) == receipts, f"{receipts} receipts")
    wait_until(lambda: worker.has_taken_over, "every take-over is through")
    assert worker.terminate() == 0


def test_after_a_clean_release_nothing_is_read_again(bench: Bench):
    bench.store(range(200), keys=20)
    drained(bench, bench.work({"plain": {}}), 200)
    assert bench.leases() == [(None, True, 0)] * 8
    bench.run("delete from {h}receipts")  # whoever looked at them would handle everything again
    bench.store([200])
    drained(bench, bench.work({"plain": {}}), 1)
    assert bench.times("done") == dict.fromkeys(range(201), 1)


class Machine:
    """One partition, from kill to kill. Events 200 and up wait in their handlers; 10 is dead, 20 put off for an hour."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.options: dict[str, Any] = {
            "partitions": 1, "concurrency": 500, "rejects": [10], "put_off": [20], "gate": str(bench.folder / "gate"),
            "max_attempts": 5,
        }  # fmt: skip

    def work(self, waits_from: int) -> Child:
        return self.bench.work({"plain": self.options | {"waits_from": waits_from}})

    def started_by(self, worker: Child) -> list[int]:
        return [line["n"] for line in self.bench.lines("start") if line["pid"] == worker.pid]

    def running(self) -> list[int]:
        """Attempts of the rows that are in somebody's hands."""
        return [attempts for _, attempts in self.bench.deliveries("running")]


def test_the_state_machine(bench: Bench):
    machine = Machine(bench)
    bench.store(range(50))
    worker = machine.work(200)
    wait_until(lambda: bench.receipt_count("plain") == 48 and len(bench.deliveries()) == 2, "50 are settled")
    assert worker.terminate() == 0
    cursor = bench.one("select done from {h}cursors")
    bench.store(range(50, 400))

    worker = machine.work(200)
    wait_until(lambda: bench.receipt_count("plain") == 198, "those that do not wait have their receipts")
    wait_until(lambda: len(machine.started_by(worker)) == 350, "all others wait in their handlers")
    assert machine.running() == [], "the fast path writes no rows"
    worker.kill()
    # An old cursor must only cost a re-read: this one is from before the first event.
    fresh = bench.one("select done from {h}cursors")
    assert cursor is not None
    assert fresh is not None

    worker = machine.work(200)
    wait_until(lambda: len(machine.started_by(worker)) >= 64, "a chunk of recovery is under way")
    assert machine.running() == [0] * 64
    assert bench.leases()[0][1:] == (False, 1)
    worker.kill()
    assert machine.started_by(worker) == list(range(200, 264)), "what has a receipt or a row is passed over"

    worker = machine.work(200)
    wait_until(lambda: machine.started_by(worker), "a suspect runs")
    assert sorted(machine.running()) == [0] * 63 + [1], "one at a time, its attempt counted before"
    worker.kill()
    assert machine.started_by(worker) == [200]

    worker = machine.work(264)
    wait_until(lambda: len(machine.started_by(worker)) >= 64 + 16, "all suspects, and a chunk of a quarter")
    wait_until(lambda: bench.receipt_count("plain") == 198 + 64, "the suspects are settled")
    assert machine.running() == [0] * 16
    assert machine.started_by(worker) == list(range(200, 280))
    assert bench.run("select attempt, outcome from {h}attempts order by id")[2:] == [(1, "worker lost")]
    worker.kill()

    worker = machine.work(1000)
    drained(bench, worker, 398)
    starts = bench.times("start")
    assert [starts[number] for number in (10, 20)] == [1, 1], "the dead and the put off did not run again"
    assert bench.times("done") == dict.fromkeys(set(range(400)) - {10, 20}, 1)
    assert bench.leases() == [(None, True, 0)]


def test_an_old_cursor_costs_a_re_read_and_nothing_else(bench: Bench):
    """Receipts and delivery rows are the truth, whatever the cursor says after a vanished worker."""
    options = {"rejects": [10], "put_off": [20], "fails": [30], "base": 60, "partitions": 1}
    registered = bench.work({"plain": options})
    wait_until(lambda: bench.leases() and bench.leases()[0][0], "the subscription is registered")
    assert registered.terminate() == 0
    bench.run("create table kept_cursors as select * from {h}cursors")
    bench.store(range(1500), keys=7)
    worker = bench.work({"plain": options})
    settled = bench_settled(bench)
    wait_until(settled, "all are settled, or wait for their retry")
    worker.kill()
    before = bench.times("start")
    bench.run(
        "update {h}cursors set done = (select done from kept_cursors), open = null, position = 0 where subscription = 1"
    )
    bench.store([1500])
    worker = bench.work({"plain": options})
    wait_until(lambda: bench.times("done")[1500] == 1, "the new one is handled")
    assert worker.terminate() == 0
    assert bench.times("start") == before | {1500: 1}


def bench_settled(bench: Bench) -> Any:
    def settled() -> bool:
        rows = bench.run("select state, count(*) from {h}deliveries group by state")
        return bench.receipt_count("plain") + sum(count for _, count in rows) == 1500

    return settled


@pytest.mark.parametrize("kind", ["plain", "effect"])
def test_killed_in_the_handler_before_its_receipt_and_after(bench: Bench, kind: str):
    bench.store(range(3), key="k")
    gate = {"kind": kind, "waits_from": 0, "gate": str(bench.folder / "gate")}
    worker = bench.work({"s": gate})
    wait_until(lambda: bench.times("start", "s") == {0: 1}, "the first runs")
    worker.kill()
    worker = bench.work({"s": {"kind": kind, "dies_after": [1]}})
    wait_until(lambda: not worker.is_running, "the second has been completed, and its worker killed")
    worker = bench.work({"s": {"kind": kind}})
    wait_until(lambda: bench.receipt_count("s") == 3, "all have their receipts")
    worker.kill()  # after the receipts, before the cursor
    bench.store([3], key="k")
    drained(bench, bench.work({"s": {"kind": kind}}), 4, "s")
    done = bench.times("done", "s")
    assert done | {0: 1} == {0: 1, 1: 2, 2: 1, 3: 1}
    if kind == "effect":
        assert done[0] == 1
        assert sorted(bench.effects("s").values()) == [1, 1, 1, 1]
    else:
        assert done[0] <= 2, "its receipt may have been waiting for the same flush"
    assert bench.deliveries() == []


@contextmanager
def locked(bench: Bench, table: str) -> Iterator[None]:
    """Nobody else can even read the table, as while a dump or a migration holds it."""
    with psycopg.connect(bench.dsn) as connection:
        connection.execute(f"lock table holdfast.{table} in access exclusive mode")
        yield


def test_a_worker_stopped_before_it_has_looked_does_not_call_the_cursor_exact(pg: Bench):
    """Given back while its take-over waits for the store, a partition is as unclean as it was."""
    options = {"rejects": [10], "partitions": 1}
    registered = pg.work({"plain": options})
    wait_until(lambda: pg.leases() and pg.leases()[0][0], "the subscription is registered")
    assert registered.terminate() == 0
    pg.run("create table kept_cursors as select * from {h}cursors")
    pg.store(range(100))
    worker = pg.work({"plain": options})
    wait_until(lambda: pg.receipt_count("plain") == 99 and pg.deliveries("dead"), "all are settled")
    worker.kill()
    pg.run("update {h}cursors set done = (select done from kept_cursors), open = null, position = 0")
    with locked(pg, "deliveries"):
        worker = pg.work({"plain": options})
        wait_until(lambda: pg.leases()[0][2] == 1 and pg.leases()[0][0], "it has acquired the partition")
        worker.send(signal.SIGTERM)
        wait_until(lambda: pg.leases()[0][0] is None or not worker.is_running, "it has given it back", LEASE_TTL + 20)
    worker.process.wait(20)
    pg.store([100])
    drained(pg, pg.work({"plain": options}), 100)
    assert pg.times("start") == dict.fromkeys(range(101), 1)
