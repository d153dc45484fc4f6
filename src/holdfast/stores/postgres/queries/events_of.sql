-- Events by their ids, in the order of the log.
select e.position, e.id, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers
from :"schema".event_log as e where e.id = any(%(ids)s::uuid[]) order by e.position;
