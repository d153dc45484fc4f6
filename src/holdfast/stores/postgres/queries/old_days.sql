-- Day partitions that lie wholly before the retention time, oldest first; the name's suffix says which day.
select right(c.relname, 8)
from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
where i.inhparent = ':"schema".event_log'::regclass and c.relname ~ '^event_log_\d{8}$'
    and to_date(right(c.relname, 8), 'YYYYMMDD') + 1
        <= (clock_timestamp() - make_interval(secs => %(retention)s)) at time zone 'UTC'
order by 1;
