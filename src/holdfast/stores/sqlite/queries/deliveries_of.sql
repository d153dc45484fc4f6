-- Delivery rows of some events in whatever state, in the order of their numbers.
select d.id, s.name, d.event_id, cast(d.tenant_id as blob) as tenant_id, cast(d.event_key as blob) as event_key,
    cast(d.event_name as blob) as event_name, d.state, d.attempts, d.put_offs, d.claim, d.due_at, d.replay, d.reason,
    d.created_at, d.updated_at, cast(d.payload as blob) as payload, cast(d.headers as blob) as headers, d.occurred_at
from subscriptions as s cross join json_each(:ids) as given
cross join deliveries as d on d.subscription = s.id and d.event_id = given.value
order by d.id;
