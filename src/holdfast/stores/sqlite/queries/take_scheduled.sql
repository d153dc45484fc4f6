-- What is due; it is dropped in the same write transaction.
select id, occurred_at, tenant_id, event_name, event_key, payload, headers
from scheduled where refused_at is null and due_at <= :now order by due_at, number limit :limit;
