-- Lock the leases whose epoch still stands, in key order; an epoch in a WHERE without the lock would be none.
select l.subscription, l.partition
from :"schema".leases as l
join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[])
    as held(subscription, partition, epoch)
    on l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
order by l.subscription, l.partition
for key share of l;
