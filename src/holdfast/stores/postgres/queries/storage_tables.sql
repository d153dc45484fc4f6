-- Tables with their estimated rows, dead rows that vacuum has not removed yet, and sizes; those of the log and of the
-- receipts by day, the days of the default partition unknown.
select coalesce(parent.relname, c.relname) as table_name,
    case when c.relispartition then c.relname end as partition,
    case when c.relispartition and c.relname ~ '_\d{8}$' then to_date(right(c.relname, 8), 'YYYYMMDD') end as day,
    greatest(c.reltuples::bigint, s.n_live_tup, 0) as rows, coalesce(s.n_dead_tup, 0) as dead_rows,
    pg_table_size(c.oid) as bytes, pg_indexes_size(c.oid) as index_bytes
from pg_class as c
left join pg_inherits as i on i.inhrelid = c.oid
left join pg_class as parent on parent.oid = i.inhparent
left join pg_stat_all_tables as s on s.relid = c.oid
where c.relkind = 'r' and c.relnamespace = (select relnamespace from pg_class where oid = ':"schema".meta'::regclass)
order by table_name, day nulls first, partition;
