-- Prolong what is still this worker's, in key order; "no key update" lets settlers keep their key-share locks.
with mine as materialized (
    select l.subscription, l.partition
    from :"schema".leases as l
    join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[])
        as held(subscription, partition, epoch)
        on l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
    where l.owner = %(worker)s
    order by l.subscription, l.partition
    for no key update of l
)
update :"schema".leases as l set lease_until = clock_timestamp() + make_interval(secs => %(ttl)s), ttl = %(ttl)s
from mine where l.subscription = mine.subscription and l.partition = mine.partition
returning l.subscription, l.partition;
