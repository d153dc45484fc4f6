"""Workers are killed while what was published for later comes due, and a schedule makes its events."""

from __future__ import annotations

import json
import random
import time
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import LONG, wait_until

if TYPE_CHECKING:
    from tests.crash.harness import Bench

SUBSCRIPTIONS = {"effects": {"kind": "effect", "concurrency": 16}, "plain": {"concurrency": 32}}
EVERY = 1  # second


@pytest.mark.timeout(240)
def test_what_is_due_comes_once_and_no_time_of_a_schedule_is_left_out(bench: Bench):
    workers = [bench.work(SUBSCRIPTIONS, every=EVERY) for _ in range(2)]
    publisher = bench.publish(keys=20, per_second=40 if bench.is_sqlite else 100, delay_max=1.5, store_timeout=10)
    wait_until(lambda: bench.times("done", "plain"), "a first event is handled")
    chance = random.Random(7)
    for _ in range(30 if LONG else 5):
        time.sleep(0.7)  # the pace of the kills
        workers.pop(chance.randrange(len(workers))).kill()
        workers.append(bench.work(SUBSCRIPTIONS, every=EVERY))
    assert publisher.terminate() == 0
    published = bench.published()
    wait_until(lambda: all(bench.receipt_count(name) == len(published) for name in SUBSCRIPTIONS), "lag is 0", 40)
    for worker in workers:
        assert worker.terminate() == 0
    assert bench.effects("effects") == dict.fromkeys(published, 1), "effects of transactional handlers: exactly one"
    assert bench.completed("plain") == published, "lost, or handled without having been published"
    assert bench.one("select count(*) from {h}scheduled") == 0
    times = ticks(bench)
    print(f"{len(published)} events, {len(times)} ticks")
    assert len(times) >= 3
    assert all(after - before == timedelta(seconds=EVERY) for before, after in pairwise(times))


def ticks(bench: Bench) -> list[datetime]:
    """The times of the schedule that became events, in the order of the log."""
    found = bench.run("select payload from {h}event_log where event_name = 'schedule.ticks' order by position")
    payloads = [json.loads(payload) if isinstance(payload, str) else payload for (payload,) in found]
    return [datetime.fromisoformat(payload["due_at"]) for payload in payloads]
