"""Draining while vacuum may remove nothing: another session holds an old snapshot."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg

from holdfast.bench.draining import drain
from holdfast.bench.looking import make_looker
from holdfast.bench.publishing import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bench.workload import Numbers

_TIMES = 4
_DEAD = "select coalesce(sum(n_dead_tup), 0) from pg_stat_all_tables where schemaname = 'holdfast'"
_CHANGED = "select coalesce(sum(n_tup_upd + n_tup_del), 0) from pg_stat_all_tables where schemaname = 'holdfast'"


def drain_often(dsn: str, events: int, *, held: bool = False) -> Numbers:
    """
    Drain so many events six times, in the last five of them with a transaction open where vacuum is *held* back.

    The rate is that of the last drain: held and not held, taken in turns, differ by what the open transaction does,
    and by nothing else that changes between a first drain and a sixth. The dead rows are those that it kept.
    """
    _publish_and_drain(dsn, events)
    with closing(make_looker(dsn)) as looker, _old_transaction(dsn, held=held):
        looker.wait_until_alone()
        changed = looker.ask(_CHANGED)
        drained = [_publish_and_drain(dsn, events) for _ in range(_TIMES + 1)]
        looker.wait_until_alone()
        dead, changed = looker.ask(_DEAD), looker.ask(_CHANGED) - changed
    return drained[-1] | {
        "dead_rows": dead, "changed_rows": changed,
        "lost": sum(one["lost"] for one in drained), "repeated": sum(one["repeated"] for one in drained),
    }  # fmt: skip


@contextmanager
def _old_transaction(dsn: str, *, held: bool) -> Iterator[None]:
    if not held:
        yield
        return
    with psycopg.connect(dsn) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("select count(*) from holdfast.cursors")  # takes the snapshot
        yield


def _publish_and_drain(dsn: str, events: int) -> Numbers:
    at_once(dsn, events)
    return drain(dsn, events)
