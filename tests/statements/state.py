"""What the tables say, read past Holdfast: without ids and times, so that two runs of the same can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

    import psycopg

State = dict[str, list[tuple[Any, ...]]]

# `@now`, `@settled` and the like are what the two databases say differently.
_QUERIES = {
    "events": """
        select event_key, event_name,
            case when event_name <> 'holdfast.subscription.let_go' then cast(payload as text) end as payload
        from event_log order by position""",  # that one tells positions
    "ids": "select count(distinct id), count(*) as n from event_log",
    "receipts": """
        select e.event_key, s.name, r.attempts
        from receipts as r left join event_log as e on e.id = r.event_id
        left join subscriptions as s on s.id = r.subscription order by 1, 2, 3""",
    "subscriptions": """
        select name, cast(patterns as text) as patterns, partitions, ordering, on_dead, paused_at is not null as paused
        from subscriptions order by name""",
    "leases": """
        select s.name, l.partition, l.owner is not null as owned, l.lease_until > @now as live, l.epoch, l.clean,
            l.crashes
        from leases as l join subscriptions as s on s.id = l.subscription order by 1, 2""",
    "cursors": """
        select s.name, c.partition, e.event_key as not_settled
        from cursors as c join subscriptions as s on s.id = c.subscription
        left join event_log as e on not (@settled) order by s.name, c.partition, e.position""",
    "deliveries": """
        select d.event_key, s.name, d.partition, d.state, d.attempts, d.put_offs, d.claim, d.replay is not null as replayed,
            d.due_at <= @now as due, d.reason
        from deliveries as d join subscriptions as s on s.id = d.subscription order by d.id""",
    "attempts": """
        select s.name, a.attempt, a.outcome, a.error
        from attempts as a join subscriptions as s on s.id = a.subscription order by a.id""",
    "replays": "select total, done, state = 'finished' as finished from replays order by id",
    "workers": "select host, draining from workers order by host, id",
    "snapshots": "select count(*) as n from snapshots",
    "samples": "select subscription is null as of_the_log, delivered, failed, retried, dead from samples order by 1, 2",
    "generation": "select generation from meta",
    "audit": "select actor, action, target, count, allowed from audit order by id",
    "let_go": """
        select s.name, g.events, g.finished_at is not null as finished
        from let_go as g join subscriptions as s on s.id = g.subscription order by 1, 2""",
    "scheduled": "select event_key, event_name, due_at <= @now as due, refused_at is not null as refused from scheduled order by number",
    "schedules": "select name, rule, next_at <= @now as due, paused_at is not null as paused from schedules order by name",
    "effects": "select n from effects order by n",
    "days": "@days",
}
_POSTGRES = {
    "@now": "clock_timestamp()",
    "@settled": """pg_visible_in_snapshot(e.txid, c.done)
        or (c.open is not null and pg_visible_in_snapshot(e.txid, c.open) and e.position < c.position)""",
    "@days": "select count(*) as n from pg_inherits where inhparent = 'event_log'::regclass",
}
_SQLITE = {
    "@now": "strftime('%Y-%m-%dT%H:%M:%f999Z', 'now')",
    "@settled": "e.position <= c.done or (c.open is not null and e.position <= c.open and e.position < c.position)",
    "@days": "select 0",
}


def _spoken(query: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        query = query.replace(word, meaning)
    return query


_OF_SQLITE = {name: _spoken(query, _SQLITE) for name, query in _QUERIES.items()}
# One statement, so that all tables are seen at one moment.
_OF_POSTGRES = "select json_build_object({})".format(
    ", ".join(
        f"'{name}', (select coalesce(json_agg(row_to_json(r)), '[]') from ({_spoken(query, _POSTGRES)}) as r)"
        for name, query in _QUERIES.items()
    )
)


def of_postgres(connection: psycopg.Connection[Any]) -> State:
    row = connection.execute(_OF_POSTGRES).fetchone()
    assert row is not None
    return {name: [tuple(one.values()) for one in rows] for name, rows in row[0].items()}


def of_sqlite(connection: sqlite3.Connection) -> State:
    connection.execute("begin")
    try:
        return {name: connection.execute(query).fetchall() for name, query in _OF_SQLITE.items()}
    finally:
        connection.execute("rollback")


def contradictions(state: State) -> list[str]:
    """What must not be, whatever has failed and whoever was in the midst of what."""
    found = []
    ((distinct, count),) = state["ids"]
    if distinct != count:
        found.append(f"{count} events with {distinct} ids")
    partitions = {name: number for name, _, number, *_ in state["subscriptions"]}
    for table in ("leases", "cursors"):
        places = {(row[0], row[1]) for row in state[table]}
        wanted = {(name, number) for name, count in partitions.items() for number in range(count)}
        if places != wanted:
            found.append(f"{table} of {sorted(places ^ wanted)} are missing or too many")
    received = {(key, name) for key, name, _ in state["receipts"]}
    for key, name, _, kind, _, _, _, replayed, *_ in state["deliveries"]:
        if (key, name) in received and not replayed:
            found.append(f"{key} has a receipt of {name} and is {kind}")
    known = received | {(row[0], row[1]) for row in state["deliveries"]}
    gone = {name for name, _, finished in state["let_go"] if finished}
    for name in partitions.keys() - gone:
        open_ = {row[2] for row in state["cursors"] if row[0] == name}
        found += [
            f"the cursors of {name} have passed {key}, which has neither receipt nor delivery"
            for key, *_ in state["events"]
            if key not in open_ and (key, name) not in known
        ]
    return found
