-- Delivery rows of some events in whatever state, in the order of their numbers.
select d.id, s.name, d.event_id, d.tenant_id, d.event_key, d.event_name, d.state, d.attempts, d.put_offs, d.claim, d.due_at,
    d.replay, d.reason, d.created_at, d.updated_at, d.payload, d.headers, d.occurred_at
from :"schema".deliveries as d join :"schema".subscriptions as s on s.id = d.subscription
where d.event_id = any(%(ids)s::uuid[]) order by d.id;
