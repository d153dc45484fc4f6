-- One event from the log, else what a dead letter kept of it.
(select e.id, e.tenant_id, e.event_name, e.event_key, e.occurred_at, e.payload, e.headers, true as in_log
from :"schema".event_log as e where e.id = %(event_id)s::uuid)
union all
(select d.event_id, d.tenant_id, d.event_name, d.event_key, d.occurred_at, d.payload, d.headers, false
from :"schema".deliveries as d where d.event_id = %(event_id)s::uuid order by d.payload is null limit 1)
order by in_log desc limit 1;
