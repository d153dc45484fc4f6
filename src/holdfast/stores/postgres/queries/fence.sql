-- Lock the leases whose epoch still stands, in key order; an epoch in a WHERE without the lock would be none. Given
-- back, a lease keeps its epoch until somebody takes it: what arrives late must not move its cursor after the goodbye.
select l.subscription, l.partition
from :"schema".leases as l
join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[])
    as held(subscription, partition, epoch)
    on l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
where l.owner is not null
order by l.subscription, l.partition
for key share of l;
