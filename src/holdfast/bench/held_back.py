"""Draining while vacuum may remove nothing: another session holds an old snapshot."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg

from holdfast.bench.draining import drain
from holdfast.bench.looking import make_looker
from holdfast.bench.publishing import at_once

if TYPE_CHECKING:
    from holdfast.bench.workload import Numbers

_TIMES = 4
_DEAD = "select coalesce(sum(n_dead_tup), 0) from pg_stat_all_tables where schemaname = 'holdfast'"
_CHANGED = "select coalesce(sum(n_tup_upd + n_tup_del), 0) from pg_stat_all_tables where schemaname = 'holdfast'"


def drain_held_back(dsn: str, events: int) -> Numbers:
    """
    Drain so many events, then four times as many while a transaction is open, then so many once more.

    The ratio is that of the last rate to the first; the dead rows are those that the open transaction kept.
    """
    _publish_and_drain(dsn, events)  # warms up what the first one alone would have to load
    before = _publish_and_drain(dsn, events)
    with closing(make_looker(dsn)) as looker, psycopg.connect(dsn) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("select count(*) from holdfast.cursors")  # takes the snapshot
        looker.wait_until_alone()
        changed = looker.ask(_CHANGED)
        drained = [_publish_and_drain(dsn, events) for _ in range(_TIMES + 1)]
        looker.wait_until_alone()
        dead, changed = looker.ask(_DEAD), looker.ask(_CHANGED) - changed
    after = drained[-1]
    return after | {
        "ratio": after["events_per_s"] / before["events_per_s"], "dead_rows": dead, "changed_rows": changed,
        "lost": sum(one["lost"] for one in drained), "repeated": sum(one["repeated"] for one in drained),
    }  # fmt: skip


def _publish_and_drain(dsn: str, events: int) -> Numbers:
    at_once(dsn, events)
    return drain(dsn, events)
