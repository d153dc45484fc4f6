-- Whether a transaction is open that has written into a day of the log. Asked before `day_came_since`: what was committed
-- until then shows there.
select exists (
    select from pg_locks as l
    where l.locktype = 'relation' and l.database = (select d.oid from pg_database as d where d.datname = current_database())
        and l.relation = coalesce(
            to_regclass(':"schema".event_log_' || %(suffix)s::text), to_regclass(':"schema".event_log_default'))
        and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'));
