"""The limit on SQLite: the same rows in the same tables by plain SQL, with no bus round it.

The same driver and settings as Holdfast uses. What such a loop lacks: see `holdfast.bench.raw_postgres`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from holdfast.bench.workload import (
    CALLERS,
    NAME,
    NOBODY,
    PAGE,
    Numbers,
    drained,
    key,
    new_id,
    payload,
    rate,
    spread,
)
from holdfast.stores.sqlite.files import path_of
from holdfast.stores.sqlite.session import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_INSERT = """insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload)
    values (?, strftime('%Y-%m-%dT%H:%M:%f000Z'), 'default', ?, ?, ?)"""
_PAGE = """select position, id, tenant_id, event_name, event_key, payload from event_log
    where position > ? order by position limit ?"""
_RECEIPTS = """insert into receipts (event_id, subscription, processed_at)
    values (?, ?, strftime('%Y-%m-%dT%H:%M:%f000Z')) on conflict do nothing"""


def _open(dsn: str) -> sqlite3.Connection:
    return connect(path_of(dsn), timeout=5)


def _rows(numbers: Sequence[int]) -> list[tuple[str, str, str, str]]:
    return [(str(new_id()), NAME, key(number), json.dumps(payload(number))) for number in numbers]


def publish_alone(dsn: str, events: int) -> Numbers:
    seconds = []
    connection = _open(dsn)
    for row in _rows(range(events)):
        started = time.perf_counter()
        connection.execute(_INSERT, row)
        seconds.append(time.perf_counter() - started)
    connection.close()
    return spread(seconds)


def publish_batches(dsn: str, events: int) -> Numbers:
    """One transaction for each 200 events."""
    return _publish(dsn, events, CALLERS)


def publish_many(dsn: str, events: int) -> Numbers:
    """One transaction with all."""
    return _publish(dsn, events, events)


def _publish(dsn: str, events: int, size: int) -> Numbers:
    connection, rows = _open(dsn), _rows(range(events))
    started = time.perf_counter()
    for first in range(0, events, size):
        connection.execute("begin immediate")
        connection.executemany(_INSERT, rows[first : first + size])
        connection.execute("commit")
    seconds = time.perf_counter() - started
    connection.close()
    return rate(events, seconds)


def drain(dsn: str, events: int) -> Numbers:
    """One step after the other: fetch, receipts in one transaction a page; nothing is decoded."""
    started, busy = time.perf_counter(), time.process_time()
    connection = _open(dsn)
    position = 0
    while page := connection.execute(_PAGE, (position, PAGE)).fetchall():
        connection.execute("begin immediate")
        connection.executemany(_RECEIPTS, [(row[1], NOBODY) for row in page])
        connection.execute("commit")
        position = page[-1][0]
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    (receipts,) = connection.execute("select count(*) from receipts where subscription = ?", (NOBODY,)).fetchone()
    connection.close()
    return drained(events, receipts, seconds, busy)
