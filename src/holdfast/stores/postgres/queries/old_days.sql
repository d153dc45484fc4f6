-- Days that lie wholly before the retention time, oldest first, as suffixes of partition names; those too whose rows
-- came when no partition of their day was there.
with cutoff as (
    select ((clock_timestamp() - make_interval(secs => %(retention)s)) at time zone 'UTC')::timestamp as at
)
select right(c.relname, 8) as suffix
from pg_inherits as i join pg_class as c on c.oid = i.inhrelid, cutoff
where i.inhparent = ':"schema".event_log'::regclass and c.relname ~ '^event_log_\d{8}$'
    and to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <= cutoff.at
union
select to_char(e.day, 'YYYYMMDD') from :"schema".event_log_default as e, cutoff where e.day + 1 <= cutoff.at
order by suffix;
