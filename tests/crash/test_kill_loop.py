"""Workers are killed every second, under load. HOLDFAST_LONG=1: for 40 seconds instead of 10."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import LONG, first_completions_in_order, no_overlap, repeats_only_after_kills, wait_until

if TYPE_CHECKING:
    from tests.crash.harness import Bench, Child

SUBSCRIPTIONS = {"effects": {"kind": "effect", "concurrency": 16}, "plain": {"concurrency": 32}}
# Receipts are gathered for 3 ms and written in one transaction: what was completed longer ago than this is on record,
# even on a busy machine. Repeats are at most what was completed in that time, by the process that was killed.
FLUSH_WINDOW = 0.5
PER_SECOND = 250 if LONG else 150


def kill_every_second(bench: Bench, workers: list[Child], seconds: float) -> dict[int, float]:
    """Kill a random one of the workers each second and start another; returns when each pid died."""
    chance = random.Random(7)
    died = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1.0)  # the pace of the kills
        victim = workers.pop(chance.randrange(len(workers)))
        victim.kill()
        died[victim.pid] = victim.killed_at or 0.0
        workers.append(bench.work(SUBSCRIPTIONS))
    return died


def check(bench: Bench, published: set[str], died: dict[int, float], per_second: float) -> None:
    assert bench.effects("effects") == dict.fromkeys(published, 1), "effects of transactional handlers: exactly one"
    assert bench.completed("plain") == published, "lost, or handled without having been published"
    for subscription in SUBSCRIPTIONS:
        assert bench.receipts(subscription) == dict.fromkeys(published, 1), f"receipts of {subscription}"
        no_overlap(bench.lines(subscription=subscription), died)
    first_completions_in_order(bench.lines(subscription="plain"))
    order = [number for (number,) in bench.run("select n from effects where event_key = 'key-0' order by id")]
    assert order == sorted(order), "effects of one key commit in order"
    repeats, per_kill = repeats_only_after_kills(bench.lines(subscription="plain"), died, window=FLUSH_WINDOW)
    bound = per_second * FLUSH_WINDOW + SUBSCRIPTIONS["plain"]["concurrency"]
    print(f"{len(published)} events, {len(died)} kills, {repeats} repeats, by kill: {per_kill}, bound {bound:.0f} each")
    assert all(number <= bound for number in per_kill.values())
    assert len(died) >= 5


@pytest.mark.timeout(240)
def test_workers_killed_every_second_on_postgresql(pg: Bench):
    workers = [pg.work(SUBSCRIPTIONS) for _ in range(3)]
    publisher = pg.publish(keys=40, per_second=PER_SECOND)
    wait_until(pg.published, "a first event is published")
    wait_until(lambda: pg.times("done", "plain"), "a first event is handled")
    died = kill_every_second(pg, workers, 40 if LONG else 10)
    assert publisher.terminate() == 0
    published = pg.published()
    began = time.monotonic()
    wait_until(lambda: all(pg.receipt_count(name) == len(published) for name in SUBSCRIPTIONS), "lag is 0", 30)
    print(f"lag was 0 after {time.monotonic() - began:.1f} s")
    wait_until(lambda: pg.unsettled() == 0, "the public view says so too", 10)
    for worker in workers:
        assert worker.terminate() == 0
    check(pg, published, died, PER_SECOND)


@pytest.mark.timeout(240)
def test_workers_killed_every_second_on_sqlite(lite: Bench):
    workers = [lite.work(SUBSCRIPTIONS) for _ in range(2)]
    publisher = lite.publish(keys=10, per_second=40, store_timeout=10)
    wait_until(lite.published, "a first event is published")
    wait_until(lambda: lite.times("done", "plain"), "a first event is handled")
    died = kill_every_second(lite, workers, 30 if LONG else 7)
    assert publisher.terminate() == 0
    published = lite.published()
    wait_until(lambda: all(lite.receipt_count(name) == len(published) for name in SUBSCRIPTIONS), "lag is 0", 40)
    for worker in workers:
        assert worker.terminate() == 0
    check(lite, published, died, 80)
