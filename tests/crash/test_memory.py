"""Memory does not grow with the backlog. HOLDFAST_LONG=1: a million events within 300 MiB."""

from __future__ import annotations

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
