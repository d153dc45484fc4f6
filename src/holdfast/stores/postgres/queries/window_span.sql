-- Where a large window begins and ends, so that its pages are looked for nowhere else: neither in settled history nor
-- in what has come since. "+ 0" keeps the planner from walking the position index through all of that.
with span as (
    select min(e.position + 0) as first, max(e.position + 0) as last from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot) and e.txid < pg_snapshot_xmax(%(open)s::pg_snapshot)
        and e.day >= %(floor)s::date
    union all
    select min(e.position + 0), max(e.position + 0) from :"schema".event_log as e
    where e.txid = any(array(select pg_snapshot_xip(%(done)s::pg_snapshot))) and e.day >= %(floor)s::date
)
select coalesce(min(first), 0) as first, coalesce(max(last), 0) as last from span;
