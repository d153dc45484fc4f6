-- Whether a day of the log has events that a snapshot does not show, or the server has crashed since it was taken.
select exists (
        select from :"schema".event_log as e
        where e.day = %(day)s::date and e.txid >= pg_snapshot_xmax(%(shown)s::pg_snapshot))
    or exists (
        select from pg_snapshot_xip(%(shown)s::pg_snapshot) as running(txid)
        join :"schema".event_log as e on e.day = %(day)s::date and e.txid = running.txid)
    or (select i.id::text from :"schema".incarnation as i) is distinct from %(incarnation)s::text;
