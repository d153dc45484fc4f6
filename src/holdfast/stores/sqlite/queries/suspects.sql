-- Rows that a worker had in its hands when it vanished.
select d.id, d.subscription, d.partition, d.claim, d.attempts, d.put_offs, d.replay is not null as is_replay,
    d.replay is null and exists (
        select 1 from receipts as r where r.event_id = d.event_id and r.subscription = d.subscription) as handled,
    d.attempts > 0 and d.attempts is not (
        select a.attempt from attempts as a
        where a.event_id = d.event_id and a.subscription = d.subscription and a.outcome <> 'put off' order by a.id desc limit 1) as lost,
    d.event_key is not null and s.ordering = 'key' and exists (
        select 1 from deliveries as before
        where before.subscription = d.subscription and before.tenant_id = d.tenant_id
            and before.event_key = d.event_key and before.id < d.id
            and (before.state in ('pending', 'retrying') or before.state = 'dead' and s.on_dead = 'hold')) as behind,
    d.position, cast(d.event_id as blob), cast(coalesce(e.occurred_at, d.occurred_at) as blob),
    cast(d.tenant_id as blob), cast(d.event_name as blob), cast(d.event_key as blob),
    cast(coalesce(e.payload, d.payload) as blob), cast(coalesce(e.headers, d.headers) as blob)
from json_each(:slices) as held
join deliveries as d
    on d.subscription = json_extract(held.value, '$[0]') and d.partition = json_extract(held.value, '$[1]')
join subscriptions as s on s.id = d.subscription
left join event_log as e on e.position = d.position
where d.state in ('pending', 'retrying', 'running') and d.state = 'running'
order by d.id;
