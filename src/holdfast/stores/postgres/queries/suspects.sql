-- Rows that a worker had in its hands when it vanished.
select c.id, c.subscription, c.partition, c.claim, c.attempts, c.put_offs, c.replay is not null as is_replay,
    c.replay is null and exists (
        select from :"schema".receipts as r
        where r.event_id = c.event_id and r.day = c.day and r.subscription = c.subscription) as handled,
    c.attempts > 0 and c.attempts is distinct from (
        select a.attempt from :"schema".attempts as a
        where a.event_id = c.event_id and a.subscription = c.subscription and a.outcome <> 'put off' order by a.id desc limit 1) as lost,
    c.event_key is not null and s.ordering = 'key' and exists (
        select from :"schema".deliveries as before
        where before.subscription = c.subscription and before.tenant_id = c.tenant_id
            and before.event_key = c.event_key and before.id < c.id
            and (before.state in ('pending', 'retrying') or before.state = 'dead' and s.on_dead = 'hold')) as behind,
    c.position, c.event_id, c.day, coalesce(e.slot, 0)::smallint as slot, coalesce(e.occurred_at, c.occurred_at) as occurred_at,
    c.tenant_id, c.event_name, c.event_key, coalesce(e.payload, c.payload) as payload, coalesce(e.headers, c.headers) as headers
from :"schema".deliveries as c
join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[]) as held(subscription, partition)
    on c.subscription = held.subscription and c.partition = held.partition
join :"schema".subscriptions as s on s.id = c.subscription
left join :"schema".event_log as e on e.id = c.event_id and e.day = c.day
where c.state = 'running'
order by c.id;
