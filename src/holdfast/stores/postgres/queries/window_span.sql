-- Where a large window begins and ends, so that its pages are looked for nowhere else: neither in settled history nor
-- in what has come since. "+ 0" keeps the planner from walking the position index through all of that.
with span as (
    select min(e.position + 0) as first, max(e.position + 0) as last from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot) and e.txid < pg_snapshot_xmax(%(open)s::pg_snapshot)
        and e.day >= %(floor)s::date
    union all
    -- For each transaction by itself: looked for together, the planner expects so many rows that it reads the whole log.
    select found.first, found.last
    from pg_snapshot_xip(%(done)s::pg_snapshot) as running(txid), lateral (
        select min(e.position + 0) as first, max(e.position + 0) as last from :"schema".event_log as e
        where e.txid = running.txid and e.day >= %(floor)s::date) as found
)
select coalesce(min(first), 0) as first, coalesce(max(last), 0) as last from span;
