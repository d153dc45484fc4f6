-- Where a large window begins. "+ 0" keeps the planner from walking the position index through settled history.
select least(
    (select min(e.position + 0) from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot) and e.txid < pg_snapshot_xmax(%(open)s::pg_snapshot)
        and e.day >= %(floor)s::date),
    (select min(e.position + 0) from :"schema".event_log as e
    where e.txid = any(array(select pg_snapshot_xip(%(done)s::pg_snapshot))) and e.day >= %(floor)s::date));
