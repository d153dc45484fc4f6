"""The PostgreSQL server crashes and comes back, while workers and publishers go on by themselves."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from holdfast.testing import LocalPostgres
from tests.crash.conftest import FAILED
from tests.crash.harness import LONG, Bench, first_completions_in_order, no_overlap, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    """A server of this file's own, to be killed. Without fsync a killed process loses nothing either."""
    with LocalPostgres(fsync=False, settings={"shared_buffers": "64MB"}) as server:
        yield server


@pytest.fixture
def crashing(request: pytest.FixtureRequest, server: LocalPostgres, tmp_path: Path) -> Iterator[Bench]:
    server.start()
    name = f"crash_{time.monotonic_ns()}"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
    bench = Bench(server.dsn(name), tmp_path)
    try:
        bench.prepare()
        yield bench
    finally:
        server.start()
        bench.close(failed=request.node.stash.get(FAILED, True))


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_over_crashes_under_load(server: LocalPostgres, crashing: Bench):
    subscriptions = {"effects": {"kind": "effect", "concurrency": 8}, "plain": {"concurrency": 16}}
    workers = [crashing.work(subscriptions) for _ in range(2)]
    publisher = crashing.publish(keys=20, per_second=150)
    wait_until(lambda: crashing.times("done", "plain"), "a first event is handled")
    chance = random.Random(11)
    for _ in range(12 if LONG else 2):
        time.sleep(1.0 + chance.random())  # the pace of the crashes
        server.kill()
        time.sleep(chance.choice([0.0, 1.5]))  # how long it is away
        server.start()
    acknowledged = len(crashing.published())
    wait_until(lambda: len(crashing.published()) > acknowledged + 100, "publishing goes on")
    assert publisher.terminate(60) == 0
    published = crashing.published()
    wait_until(lambda: all(crashing.receipt_count(name) >= len(published) for name in subscriptions), "lag is 0", 40)
    assert [worker.terminate() for worker in workers] == [0, 0], "the same workers, never restarted"
    # A publish whose answer was lost may have happened: more than acknowledged is allowed, less is not.
    stored = {
        str(event_id) for (event_id,) in crashing.run("select id from {h}event_log where event_name = 'load.event'")
    }
    assert published <= stored
    assert crashing.effects("effects") == dict.fromkeys(stored, 1)
    assert crashing.completed("plain") == stored
    first_completions_in_order(crashing.lines(subscription="plain"))
    no_overlap(crashing.lines(subscription="plain"), {})
    assert any(line["where"] == "spool" for line in crashing.acknowledgements()), "the spool was never used"


@pytest.mark.parametrize("away", [0.0, 1.6])
def test_transaction_ids_that_are_handed_out_again_hide_no_event(server: LocalPostgres, crashing: Bench, away: float):
    """Rollbacks last before the crash, workers alive: their snapshots show ids that did not happen, yet.

    For longer than a second away, cursors that were due when the server crashed are written after it.
    """
    worker = crashing.work({"plain": {"partitions": 4}}, lease_ttl=30)
    number, again = 0, 0
    for _ in range(8 if LONG else 2):
        number = handled_after(crashing, number, 20)
        highest = waste_transaction_ids(crashing)
        server.kill()
        time.sleep(away)
        server.start()
        crashing.store(range(number, number + 20))
        number += 20
        lowest = crashing.one("select min(txid::text::bigint) from {h}event_log where position > "
            "(select max(position) - 20 from {h}event_log)")  # fmt: skip
        again += lowest <= highest
        wait_until(lambda: crashing.receipt_count("plain") == number, "all are settled, also the new ones")  # noqa: B023
    assert again, "no transaction id was ever handed out again: the test has not tested anything"
    assert worker.terminate() == 0
    assert set(crashing.times("done")) == set(range(number))


def test_a_cursor_from_before_the_crash_is_not_written_after_it(server: LocalPostgres, crashing: Bench):
    """
    A cursor that was due when the server crashed says which transactions were seen; those ids are handed out again.
    Written after the crash, it would hide new events from whoever takes over next.
    """
    options, number, again = {"plain": {"partitions": 1}}, 0, 0
    for _ in range(10 if LONG else 3):
        worker = crashing.work(options, lease_ttl=30)
        number = handled_after(crashing, number, 20)
        highest = waste_transaction_ids(crashing)
        server.kill()
        time.sleep(1.6)  # away for more than the second after which cursors are written
        server.start()
        number = handled_after(crashing, number, 1)  # what waited to be written since the crash was written before
        worker.kill()
        crashing.store(range(number, number + 20))
        number += 20
        again += crashing.one("select max(txid::text::bigint) from {h}event_log") <= highest
        worker = crashing.work(options, lease_ttl=30)
        crashing.store([number])
        number += 1
        wait_until(lambda: crashing.times("done")[number - 1], "the last one is handled")  # noqa: B023
        wait_until(lambda: set(crashing.times("done")) == set(range(number)), "and all before", 5)  # noqa: B023
        assert worker.terminate() == 0
    assert again, "no transaction id was ever handed out again: the test has not tested anything"


def handled_after(bench: Bench, number: int, more: int) -> int:
    """Store so many more events, wait until all have their receipts, and return how many there are now."""
    bench.store(range(number, number + more))
    wait_until(lambda: bench.receipt_count("plain") == number + more, "all are settled")
    return number + more


def waste_transaction_ids(bench: Bench) -> int:
    """Roll back 500 transactions with ids, wait until the worker's reader has seen that, and return the highest id."""
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        connection.execute("begin; select pg_current_xact_id(); rollback;" * 500)
        connection.execute("begin")
        ((highest,),) = connection.execute("select pg_current_xact_id()::text::bigint").fetchall()
        connection.execute("rollback")
        ((now,),) = connection.execute("select clock_timestamp()").fetchall()
        wait_until(
            lambda: connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle' "
                "and application_name = 'holdfast reader' and query_start > %s", (now,)
            ).fetchone() == (1,),
            "the reader has read since",
        )  # fmt: skip
    return int(highest)


def test_an_immediate_shutdown_and_a_clean_restart(server: LocalPostgres, crashing: Bench):
    worker = crashing.work({"plain": {}})
    for number, mode in enumerate(["immediate", "fast", "immediate"]):
        crashing.store([number])
        wait_until(lambda: crashing.receipt_count("plain") == number + 1, f"settled before the {mode} restart")  # noqa: B023
        server.restart(mode)
    crashing.store([3])
    wait_until(lambda: crashing.receipt_count("plain") == 4, "settled after the last one")
    assert worker.terminate() == 0
    assert set(crashing.times("done")) == {0, 1, 2, 3}
