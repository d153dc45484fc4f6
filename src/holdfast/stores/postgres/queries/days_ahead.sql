-- For how many days from today on the log has its partition.
select max(to_date(right(c.relname, 8), 'YYYYMMDD')) - (clock_timestamp() at time zone 'UTC')::date
from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
where i.inhparent = ':"schema".event_log'::regclass and c.relname ~ '^event_log_\d{8}$';
