update :"schema".leases as l set crashes = 0
from unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[])
    as held(subscription, partition, epoch)
where l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
    and l.owner = %(worker)s and l.crashes > 0;
