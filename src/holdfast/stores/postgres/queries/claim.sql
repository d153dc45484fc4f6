-- Take these rows into hand, under the fence of their leases, which is locked in key order. Each time that a row is
-- taken has a number, so that what is written about it late cannot be about the time after.
with fence as materialized (
    select l.subscription, l.partition
    from :"schema".leases as l
    join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[])
        as held(subscription, partition, epoch)
        on l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
    where l.owner is not null
    order by l.subscription, l.partition
    for key share of l
), ready as materialized (
    select d.id
    from fence join :"schema".deliveries as d on d.subscription = fence.subscription and d.partition = fence.partition
    where d.id = any(%(ids)s::bigint[]) and d.state in ('pending', 'retrying') and d.due_at <= statement_timestamp()
    order by d.id
    for no key update of d
), claimed as (
    update :"schema".deliveries as d set state = 'running', claim = d.claim + 1, updated_at = clock_timestamp()
    from ready where d.id = ready.id
    returning d.*
)
select c.id, c.subscription, c.partition, c.claim, c.attempts, c.put_offs, c.replay is not null as is_replay,
    c.replay is null and exists (
        select from :"schema".receipts as r
        where r.event_id = c.event_id and r.day = c.day and r.subscription = c.subscription) as handled,
    false as lost, false as behind,
    c.position, c.event_id, c.day, coalesce(e.slot, 0)::smallint as slot, coalesce(e.occurred_at, c.occurred_at) as occurred_at,
    c.tenant_id, c.event_name, c.event_key, coalesce(e.payload, c.payload) as payload, coalesce(e.headers, c.headers) as headers
from claimed as c left join :"schema".event_log as e on e.id = c.event_id and e.day = c.day
order by c.id;
