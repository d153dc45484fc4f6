-- What waited for a subscription to come to it in another store waits in rows here, behind all that had rows there.
insert into deliveries (id, subscription, partition, event_id, position, tenant_id, event_key, event_name, state, due_at,
    created_at, updated_at)
select max(:highest, (select coalesce(max(id), 0) from deliveries)) + row_number() over (order by e.position, s.id), s.id,
    holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions, e.id, e.position,
    e.tenant_id, e.event_key, e.event_name, 'pending', :now, :now, :now
from json_each(:waiting) as w
join subscriptions as s on s.name = json_extract(w.value, '$.subscription')
join event_log as e on e.id = json_extract(w.value, '$.event_id')
where true
on conflict (subscription, event_id) do nothing;
