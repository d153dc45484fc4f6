-- Delivery rows of another store with their numbers, which are their order; where the event is, they lie where it does.
-- No event has the position 0.
insert into deliveries (id, subscription, partition, event_id, position, tenant_id, event_key, event_name, state, attempts,
    put_offs, claim, due_at, replay, reason, created_at, updated_at, payload, headers, occurred_at)
select json_extract(d.value, '$.number'), s.id,
    holdfast_slot(cast(json_extract(d.value, '$.tenant_id') as blob), cast(json_extract(d.value, '$.key') as blob),
        cast(json_extract(d.value, '$.event_id') as blob)) % s.partitions,
    json_extract(d.value, '$.event_id'),
    coalesce((select e.position from event_log as e where e.id = json_extract(d.value, '$.event_id')), 0),
    json_extract(d.value, '$.tenant_id'), json_extract(d.value, '$.key'), json_extract(d.value, '$.name'),
    json_extract(d.value, '$.state'), json_extract(d.value, '$.attempts'), json_extract(d.value, '$.put_offs'),
    json_extract(d.value, '$.claim'), json_extract(d.value, '$.due_at'), json_extract(d.value, '$.replay'),
    json_extract(d.value, '$.reason'), json_extract(d.value, '$.created_at'), json_extract(d.value, '$.updated_at'),
    json_extract(d.value, '$.payload'), json_extract(d.value, '$.headers'), json_extract(d.value, '$.occurred_at')
from json_each(:deliveries) as d join subscriptions as s on s.name = json_extract(d.value, '$.subscription')
where true
on conflict do nothing;
