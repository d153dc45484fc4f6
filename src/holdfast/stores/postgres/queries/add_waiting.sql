-- What waited for a subscription to come to it in another store waits in rows here, behind all that had rows there.
insert into :"schema".deliveries (subscription, partition, event_id, day, position, tenant_id, event_key, event_name, state)
select s.id, e.slot %% s.partitions, e.id, e.day, e.position, e.tenant_id, e.event_key, e.event_name, 'pending'
from json_to_recordset(%(waiting)s::text::json) as given(event_id uuid, subscription text)
join :"schema".subscriptions as s on s.name = given.subscription
join :"schema".event_log as e on e.id = given.event_id
order by e.position
on conflict (subscription, event_id) do nothing;
