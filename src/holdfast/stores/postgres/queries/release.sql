-- Say goodbye: nobody's now, and "clean" when the cursor says it all. What the owner before left unfinished keeps an
-- owner whose time is over, so that the next one knows that there is something to recover.
with mine as materialized (
    select l.subscription, l.partition, held.lost, held.exact and (held.incarnation is null
        or exists (select from :"schema".incarnation as i where i.id = held.incarnation)) as exact
    from :"schema".leases as l
    join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[], %(exacts)s::boolean[],
        %(losts)s::boolean[], %(incarnations)s::uuid[])
        as held(subscription, partition, epoch, exact, lost, incarnation)
        on l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
    where l.owner = %(worker)s
    order by l.subscription, l.partition
    for update of l
)
update :"schema".leases as l set owner = case when mine.lost then l.owner end,
    lease_until = case when mine.lost then clock_timestamp() end, clean = mine.exact and not mine.lost,
    crashes = case when mine.lost then greatest(l.crashes - 1, 0) else 0 end
from mine where l.subscription = mine.subscription and l.partition = mine.partition
returning l.subscription, l.partition;
