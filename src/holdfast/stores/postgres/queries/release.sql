-- Say goodbye: nobody's now, and "clean" when the cursor says it all.
with mine as materialized (
    select l.subscription, l.partition, held.exact
    from :"schema".leases as l
    join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[], %(exacts)s::boolean[])
        as held(subscription, partition, epoch, exact)
        on l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
    where l.owner = %(worker)s
    order by l.subscription, l.partition
    for update of l
)
update :"schema".leases as l set owner = null, lease_until = null, clean = mine.exact, crashes = 0
from mine where l.subscription = mine.subscription and l.partition = mine.partition;
