-- What is due, locked; what another worker is taking is passed over. The time in a query of its own, because a volatile
-- function in the condition would keep the index from being used.
select id, occurred_at, tenant_id, event_name, event_key, payload, headers
from :"schema".scheduled where refused_at is null and due_at <= (select clock_timestamp())
order by due_at, number limit %(limit)s for update skip locked;
