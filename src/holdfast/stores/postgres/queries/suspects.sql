-- Rows that a worker had in its hands when it vanished.
select c.id, c.subscription, c.partition, c.attempts, c.put_offs, c.replay is not null as is_replay,
    c.replay is null and exists (
        select from :"schema".receipts as r
        where r.event_id = c.event_id and r.day = c.day and r.subscription = c.subscription) as handled,
    c.attempts > 0 and c.attempts is distinct from (
        select a.attempt from :"schema".attempts as a
        where a.event_id = c.event_id and a.subscription = c.subscription order by a.id desc limit 1) as lost,
    c.position, c.event_id, c.day, coalesce(e.slot, 0)::smallint as slot, coalesce(e.occurred_at, c.occurred_at) as occurred_at,
    c.tenant_id, c.event_name, c.event_key, coalesce(e.payload, c.payload) as payload, coalesce(e.headers, c.headers) as headers
from :"schema".deliveries as c
join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[]) as held(subscription, partition)
    on c.subscription = held.subscription and c.partition = held.partition
left join :"schema".event_log as e on e.id = c.event_id and e.day = c.day
where c.state = 'running'
order by c.id;
