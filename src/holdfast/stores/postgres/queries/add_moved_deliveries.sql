-- Delivery rows of another store with their numbers, which are their order; where the event is, they lie where it does.
insert into :"schema".deliveries (id, subscription, partition, event_id, day, position, tenant_id, event_key, event_name,
    state, attempts, put_offs, claim, due_at, replay, reason, created_at, updated_at, payload, headers, occurred_at)
overriding system value
select given.number, s.id, :"schema".slot_of(given.tenant_id, given.key, given.event_id) %% s.partitions, given.event_id,
    coalesce(e.day, :"schema".event_day(given.event_id)), coalesce(e.position, 0), given.tenant_id, given.key, given.name,
    given.state, given.attempts, given.put_offs, given.claim, given.due_at, given.replay, given.reason, given.created_at,
    given.updated_at, given.payload::json, given.headers::json, given.occurred_at
from json_to_recordset(%(deliveries)s::text::json) as given(number bigint, subscription text, event_id uuid, tenant_id text,
    key text, name text, state text, attempts integer, put_offs integer, claim integer, due_at timestamptz, replay bigint,
    reason text, created_at timestamptz, updated_at timestamptz, payload text, headers text, occurred_at timestamptz)
join :"schema".subscriptions as s on s.name = given.subscription
left join :"schema".event_log as e on e.id = given.event_id
on conflict do nothing;
