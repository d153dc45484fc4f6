-- Take what is due and not behind its key, under the fence of the leases. The fence is locked in key order.
-- One reading of the clock for all rows: a retry that falls due in the middle would be not due itself and no longer
-- in the way of those behind it.
with fence as materialized (
    select l.subscription, l.partition
    from :"schema".leases as l
    join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(epochs)s::bigint[])
        as held(subscription, partition, epoch)
        on l.subscription = held.subscription and l.partition = held.partition and l.epoch = held.epoch
    order by l.subscription, l.partition
    for key share of l
), ready as materialized (
    select d.id
    from fence
    join :"schema".deliveries as d on d.subscription = fence.subscription and d.partition = fence.partition
    join :"schema".subscriptions as s on s.id = d.subscription
    where d.state in ('pending', 'retrying') and d.due_at <= statement_timestamp()
        and (d.event_key is null or s.ordering = 'none' or not exists (
            select from :"schema".deliveries as before
            where before.subscription = d.subscription and before.tenant_id = d.tenant_id
                and before.event_key = d.event_key and before.id < d.id
                and (before.state = 'running'
                    or before.state in ('pending', 'retrying') and before.due_at > statement_timestamp()
                    or before.state = 'dead' and s.on_dead = 'hold')))
    order by d.id limit %(limit)s
    for no key update of d
), claimed as (
    update :"schema".deliveries as d set state = 'running', updated_at = clock_timestamp()
    from ready where d.id = ready.id
    returning d.*
)
select c.id, c.subscription, c.partition, c.attempts, c.put_offs, c.replay is not null as is_replay,
    c.replay is null and exists (
        select from :"schema".receipts as r
        where r.event_id = c.event_id and r.day = c.day and r.subscription = c.subscription) as handled,
    false as lost,
    c.position, c.event_id, c.day, coalesce(e.slot, 0)::smallint as slot, coalesce(e.occurred_at, c.occurred_at) as occurred_at,
    c.tenant_id, c.event_name, c.event_key, coalesce(e.payload, c.payload) as payload, coalesce(e.headers, c.headers) as headers
from claimed as c left join :"schema".event_log as e on e.id = c.event_id and e.day = c.day
order by c.id;
