-- Seconds until the next retry of these partitions, 0 or less when one is due already; and the generation.
select extract(epoch from min(d.due_at) - clock_timestamp())::float8, (select generation from :"schema".meta)
from :"schema".deliveries as d
join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[]) as held(subscription, partition)
    on d.subscription = held.subscription and d.partition = held.partition
where d.state = 'retrying' and not exists (select from :"schema".paused_tenants as p
    where p.subscription = d.subscription and p.tenant_id = d.tenant_id);
