select exists (
    select from :"schema".event_log as e
    where (e.txid >= pg_snapshot_xmax(%(horizon)s::pg_snapshot)
        or e.txid = any(array(select pg_snapshot_xip(%(horizon)s::pg_snapshot))))
        and e.headers ->> 'causation_id' is not null);
