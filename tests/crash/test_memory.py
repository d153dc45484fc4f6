"""Memory does not grow with the backlog, and can run out. HOLDFAST_LONG=1: a million events within 300 MiB."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import LONG, wait_until

if TYPE_CHECKING:
    from tests.crash.harness import Bench

SMALL, LARGE = 5_000, 50_000
ROWS = {
    False: "select 'load.event', 'key-' || i % 1000, json_build_object('n', i, 'text', repeat('x', 200)) "
    "from generate_series(1, {number}) as i",
    True: "with recursive s(i) as (select 1 union all select i + 1 from s where i < {number}) "
    "select 'load.event', 'key-' || i % 1000, json_object('n', i, 'text', printf('%.200c', 'x')) from s",
}


def peak_after(bench: Bench, subscription: str, number: int) -> float:
    """Store so many events, let one worker handle them, and return the most memory that it held, in MiB."""
    before = bench.one("select count(*) from {h}event_log")
    rows = ROWS[bench.is_sqlite].replace("{number}", str(number))
    bench.run("insert into {h}event_store (event_name, event_key, payload) " + rows)
    worker = bench.work({subscription: {"kind": "count"}}, lease_ttl=10)
    wait_until(lambda: bench.receipt_count(subscription) == before + number, "the backlog is gone", 600 if LONG else 60)
    peak = worker.peak_mib
    assert worker.terminate() == 0
    return peak


def test_memory_does_not_grow_with_the_backlog(bench: Bench):
    small = peak_after(bench, "s", SMALL)
    large = peak_after(bench, "s", LARGE)
    print(f"peak {small:.0f} MiB with {SMALL} events of backlog, {large:.0f} MiB with {LARGE}")
    assert large - small < 60
    assert large < 300


@pytest.mark.skipif(not LONG, reason="a million events take a while: HOLDFAST_LONG=1")
@pytest.mark.timeout(900)
def test_a_million_events_within_300_mib(pg: Bench):
    peak = peak_after(pg, "s", 1_000_000)
    print(f"peak {peak:.0f} MiB with a million events of backlog")
    assert peak < 300


LIMIT_MIB = 2048


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to RLIMIT_AS")
@pytest.mark.parametrize("kind", ["plain", "effect"])
def test_a_handler_that_uses_up_all_memory_fails_alone(bench: Bench, kind: str):
    bench.store(range(40), keys=8)
    options = {"kind": kind, "hoards": [10], "max_attempts": 2}
    worker = bench.work({"s": options}, memory_mib=LIMIT_MIB)
    wait_until(lambda: bench.deliveries("dead") and bench.receipt_count("s") == 39, "one is dead, the others handled")
    attempts = bench.run("select attempt, outcome, error, traceback from {h}attempts order by id")
    assert [attempt[:3] for attempt in attempts] == [(1, "failed", "MemoryError"), (2, "failed", "MemoryError")]
    assert all("chunks.append" in traceback for *_, traceback in attempts), "it is the allocator that raised"
    wait_until(lambda: worker.reserved_mib < LIMIT_MIB / 2, "what the handler took is free again")
    bench.store(range(40, 80), keys=8)
    wait_until(lambda: bench.receipt_count("s") == 79, "the same worker handles what comes later")
    assert worker.terminate() == 0
    assert bench.times("done") == dict.fromkeys(set(range(80)) - {10}, 1)
    if kind == "effect":
        assert bench.effects("s") == bench.receipts("s")
