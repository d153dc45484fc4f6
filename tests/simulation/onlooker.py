"""A look at the simulated tables with SQL, as the contract's tests do: they are copied to SQLite, and back if changed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.event import from_micros, to_micros
from holdfast.stores.values import Slice, State

if TYPE_CHECKING:
    from tests.simulation.server import Server
    from tests.simulation.tables import DeliveryRow, LoggedEvent

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"

_SCHEMA = """
    create table event_log (position, id, occurred_at, tenant_id, event_name, event_key, payload, headers);
    create table subscriptions (id, name, patterns, partitions, ordering, on_dead, replayable, paused_at);
    create table leases (subscription, partition, owner, lease_until, epoch, clean, crashes);
    create table cursors (subscription, partition, done, open, position);
    create table receipts (event_id, subscription, attempts, processed_at);
    create table deliveries (id, subscription, partition, event_id, tenant_id, event_key, event_name, state, attempts,
        put_offs, due_at, reason, payload, occurred_at);
    create table attempts (event_id, subscription, attempt, outcome, error, message, traceback, seconds);
    create table workers (id, heartbeat_at);
    create table snapshots (number, at);
    create table effects (key);
    create view event_consumers as select r.event_id, s.name as consumer_name, r.attempts, r.processed_at
        from receipts as r join subscriptions as s on s.id = r.subscription;
"""


def run(server: Server, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement of the SQL that both databases understand."""
    if statement.startswith("create table"):
        return []  # the handlers' own table is there already
    with closing(sqlite3.connect(":memory:")) as mirror:
        mirror.executescript(_SCHEMA)
        for table, rows in _rows(server).items():
            for row in rows:
                mirror.execute(f"insert into {table} values ({', '.join('?' * len(row))})", row)
        found = mirror.execute(statement).fetchall()
        if not statement.lstrip().startswith("select"):
            _take_back(server, mirror)
        return found


def _rows(server: Server) -> dict[str, list[tuple[Any, ...]]]:
    tables = server.tables
    return {
        "event_log": [_event(entry) for entry in server.committed()],
        "subscriptions": [
            (
                one.record.id, one.record.name, json.dumps(one.record.patterns), *one.record[3:7],
                _text(server.clock()) if one.record.paused else None,
            )
            for one in tables.subscriptions.values()
        ],
        "leases": [
            (*slice_, row.owner and str(row.owner), _text(row.until), row.epoch, row.clean, row.crashes)
            for slice_, row in tables.leases.items()
        ],
        "cursors": [(*slice_, *cursor) for slice_, cursor in tables.cursors.items()],
        "receipts": [
            (_uuid(event_id), subscription, row.attempts, _text(row.processed_at))
            for (subscription, event_id), row in tables.receipts.items()
        ],
        "deliveries": [_delivery(row) for row in tables.deliveries.values()],
        "attempts": [
            (_uuid(one.attempt.event_id), one.attempt.slice.subscription, *one.attempt[3:]) for one in tables.attempts
        ],
        "workers": [(str(worker), _text(row.heartbeat_at)) for worker, row in tables.workers.items()],
        "snapshots": [(number, _text(one.at)) for number, one in enumerate(tables.snapshots)],
        "effects": [(effect.subscription,) for effect in tables.effects],
    }  # fmt: skip


def _event(entry: LoggedEvent) -> tuple[Any, ...]:
    row = entry.row
    headers = None if row.headers is None else row.headers.decode()
    moment = from_micros(row.occurred_at).strftime(_TIME)
    return row.position, _uuid(row.id), moment, row.tenant_id, row.name, row.key, row.payload.decode(), headers


def _delivery(row: DeliveryRow) -> tuple[Any, ...]:
    event = row.row
    return (
        row.id, *row.slice, _uuid(event.id), event.tenant_id, event.key, event.name, row.state.value, row.attempts,
        row.put_offs, _text(row.due_at), row.reason, event.payload.decode(), event.occurred_at,
    )  # fmt: skip


# What a test may change with SQL, and nothing else


def _take_back(server: Server, mirror: sqlite3.Connection) -> None:
    _take_back_log(server, mirror)
    _take_back_leases(server, mirror)
    _take_back_deliveries(server, mirror)
    tables = server.tables
    for subscription, paused_at in mirror.execute("select id, paused_at from subscriptions"):
        known = tables.subscriptions[subscription]
        known.record = known.record._replace(paused=paused_at is not None)
    kept = {(row[1], UUID(row[0]).bytes) for row in mirror.execute("select event_id, subscription from receipts")}
    tables.receipts = {key: row for key, row in tables.receipts.items() if key in kept}
    for worker, heartbeat_at in mirror.execute("select id, heartbeat_at from workers"):
        tables.workers[UUID(worker)].heartbeat_at = _seconds(heartbeat_at)
    for number, at in mirror.execute("select number, at from snapshots"):
        tables.snapshots[number].at = _seconds(at)


def _take_back_log(server: Server, mirror: sqlite3.Connection) -> None:
    times = dict(mirror.execute("select id, occurred_at from event_log"))
    for entry in list(server.committed()):
        if (moment := times.get(_uuid(entry.row.id))) is None:
            server.log.remove(entry)
            del server.by_id[entry.row.id]
        else:
            occurred_at = to_micros(datetime.strptime(moment, _TIME).replace(tzinfo=UTC))
            entry.row = entry.row._replace(occurred_at=occurred_at)


def _take_back_leases(server: Server, mirror: sqlite3.Connection) -> None:
    for subscription, partition, until, epoch in mirror.execute(
        "select subscription, partition, lease_until, epoch from leases"
    ):
        row = server.tables.leases[Slice(subscription, partition)]
        row.until, row.epoch = _seconds(until), epoch


def _take_back_deliveries(server: Server, mirror: sqlite3.Connection) -> None:
    changed = {
        found[0]: found[1:]
        for found in mirror.execute("select id, state, due_at, tenant_id, event_key, payload from deliveries")
    }
    for row in list(server.tables.deliveries.values()):
        if row.id not in changed:
            server.tables.drop_delivery(row)
            continue
        state, due_at, tenant_id, key, payload = changed[row.id]
        row.state, row.due_at = State(state), _seconds(due_at)
        row.row = row.row._replace(tenant_id=tenant_id, key=key, payload=payload.encode())


def _uuid(event_id: bytes) -> str:
    return str(UUID(bytes=event_id))


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def _seconds(text: str) -> float:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()
