insert into :"schema".cursors (subscription, partition, done, open, position)
select %(subscription)s, partition, %(done)s::pg_snapshot, %(open)s::pg_snapshot, %(position)s::bigint
from generate_series(0, %(partitions)s - 1) as partition;
