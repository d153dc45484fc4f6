update :"schema".cursors as c set done = a.done::pg_snapshot, open = a.open::pg_snapshot, position = a.position,
    updated_at = clock_timestamp()
from unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(dones)s::text[], %(opens)s::text[],
    %(positions)s::bigint[]) as a(subscription, partition, done, open, position)
where c.subscription = a.subscription and c.partition = a.partition;
