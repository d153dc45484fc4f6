"""A worker is killed in the midst of a backlog, and another one goes on."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from holdfast.bench.looking import make_looker
from holdfast.bench.working import Worker, wait_until
from holdfast.bench.workload import patience, rate

if TYPE_CHECKING:
    from holdfast.bench.looking import Looker
    from holdfast.bench.workload import Numbers

_ALONG = """select coalesce(sum({}), 0)::bigint from pg_stat_all_indexes
    where schemaname = 'holdfast' and relname like 'event_log%' and indexrelname not like '%_pkey'"""
_THROUGH = """select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_all_tables
    where schemaname = 'holdfast' and relname like 'event_log%'"""


def taken_over(dsn: str, events: int) -> Numbers:
    """
    Kill a worker when half of the backlog is handled; the clock runs from the start of the next one.

    ``rerun`` counts the events that both handled. ``read_share`` is how many events the second worker read to find what
    was left, as a share of the backlog: half of it is left, and who begins at the beginning reads all. ``index_share``
    is how many entries of the log's indexes it went through; to see where a window ends it goes through them all.
    """
    with closing(make_looker(dsn)) as looker:
        with Worker(dsn) as first:
            wait_until(lambda: first.calls >= events / 2, patience(events))
            first.kill()
        looker.wait_until_alone()
        left, fetched, entries = events - _count_receipts(looker), _count_fetched(looker), _count_entries(looker)
        started = time.perf_counter()
        with Worker(dsn) as second:
            wait_until(lambda: second.calls >= min(1, left), patience(events))
            first_call = time.perf_counter() - started
            wait_until(lambda: second.calls >= left, patience(events))
            receipts, finished = looker.wait_for_receipts(events)
            peak = second.look().peak
        looker.wait_until_alone()
        fetched, entries = _count_fetched(looker) - fetched, _count_entries(looker) - entries
    return rate(left, finished - started) | {
        "start_ms": 1000 * first_call, "peak_mib": peak / 2**20, "lost": events - receipts,
        "rerun": first.calls + second.calls - receipts, "read_share": fetched / events,
        "index_share": entries / events,
    }  # fmt: skip


def _count_receipts(looker: Looker) -> int:
    return looker.ask("select count(*) from holdfast.event_consumers")


def _count_fetched(looker: Looker) -> int:
    """Events that anybody has read along their positions or transactions, or by going through the log."""
    return looker.ask(_ALONG.format("idx_tup_fetch")) + looker.ask(_THROUGH)


def _count_entries(looker: Looker) -> int:
    return looker.ask(_ALONG.format("idx_tup_read"))
