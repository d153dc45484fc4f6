-- Two branches, each with its range of the index: one condition with "or" reads the whole log.
-- As text: "->>" fails at an escape such as \ud800, which another program can have put into any header.
select exists (
    select from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax(%(horizon)s::pg_snapshot) and position('"causation_id"' in e.headers::text) > 0)
or exists (
    select from :"schema".event_log as e
    where e.txid = any(array(select pg_snapshot_xip(%(horizon)s::pg_snapshot)))
        and position('"causation_id"' in e.headers::text) > 0);
