-- Indexes with their sizes and how often each was used; those of partitions count for the one that they belong to.
select t.relname as table_name, root.relname as name, sum(pg_relation_size(leaf.oid))::bigint as bytes,
    sum(coalesce(u.idx_scan, 0))::bigint as scans, bool_and(i.indisvalid) as valid
from pg_index as i
join pg_class as leaf on leaf.oid = i.indexrelid and leaf.relkind = 'i'
left join pg_inherits as part on part.inhrelid = leaf.oid
join pg_class as root on root.oid = coalesce(part.inhparent, leaf.oid)
join pg_index as of_root on of_root.indexrelid = root.oid
join pg_class as t on t.oid = of_root.indrelid
left join pg_stat_all_indexes as u on u.indexrelid = leaf.oid
where leaf.relnamespace = (select relnamespace from pg_class where oid = ':"schema".meta'::regclass)
group by t.relname, root.relname
order by t.relname, root.relname;
