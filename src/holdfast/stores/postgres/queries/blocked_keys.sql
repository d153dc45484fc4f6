select d.subscription, d.partition, d.tenant_id, d.event_key, count(*)
from :"schema".deliveries as d
join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[]) as wanted(subscription, partition)
    on d.subscription = wanted.subscription and d.partition = wanted.partition
join :"schema".subscriptions as s on s.id = d.subscription
where d.event_key is not null and s.ordering = 'key'
    and (d.state in ('pending', 'retrying', 'running') or d.state = 'dead' and s.on_dead = 'hold')
group by d.subscription, d.partition, d.tenant_id, d.event_key;
