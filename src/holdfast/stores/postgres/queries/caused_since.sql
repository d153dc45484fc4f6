-- Two branches, each with its range of the index: one condition with "or" reads the whole log.
-- As text: "->>" fails at an escape such as \ud800, which another program can have put into any header.
select exists (
    select from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax(%(horizon)s::pg_snapshot) and position('"causation_id"' in e.headers::text) > 0)
or exists (
    select from pg_snapshot_xip(%(horizon)s::pg_snapshot) as running(txid), lateral (
        select e.headers from :"schema".event_log as e
        where e.txid between running.txid and running.txid order by e.txid) as e -- as in read_new
    where position('"causation_id"' in e.headers::text) > 0);
