-- Which of these events the seals have passed: they would be sealed if they had been there in time.
select e.position, e.id
from :"schema".event_log as e
where e.position = any(%(positions)s::bigint[])
    and (pg_visible_in_snapshot(e.txid, %(done)s::pg_snapshot)
        or (e.txid >= pg_snapshot_xmax(coalesce(%(open)s::pg_snapshot, %(done)s::pg_snapshot))
            and e.position <= %(highest)s::bigint)
        or (pg_visible_in_snapshot(e.txid, %(open)s::pg_snapshot) and e.position <= %(position)s::bigint));
