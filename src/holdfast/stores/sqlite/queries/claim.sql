-- What is due and not behind its key. The list of all three states lets the index of unsettled rows be used.
select d.id, d.subscription, d.partition, d.attempts, d.put_offs, d.replay is not null as is_replay,
    d.replay is null and exists (
        select 1 from receipts as r where r.event_id = d.event_id and r.subscription = d.subscription) as handled,
    0 as lost,
    d.position, cast(d.event_id as blob), cast(coalesce(e.occurred_at, d.occurred_at) as blob),
    cast(d.tenant_id as blob), cast(d.event_name as blob), cast(d.event_key as blob),
    cast(coalesce(e.payload, d.payload) as blob), cast(coalesce(e.headers, d.headers) as blob)
from deliveries as d join subscriptions as s on s.id = d.subscription
left join event_log as e on e.position = d.position
where d.subscription = :subscription
    and d.state in ('pending', 'retrying', 'running') and d.state <> 'running'
    and d.due_at <= :now
    and d.partition in (select value from json_each(:partitions))
    and (d.event_key is null or s.ordering = 'none' or not exists (
        select 1 from deliveries as before
        where before.subscription = d.subscription and before.tenant_id = d.tenant_id
            and before.event_key = d.event_key and before.id < d.id
            and (before.state = 'running'
                or before.state in ('pending', 'retrying') and before.due_at > :now
                or before.state = 'dead' and s.on_dead = 'hold')))
order by d.id
limit :limit;
