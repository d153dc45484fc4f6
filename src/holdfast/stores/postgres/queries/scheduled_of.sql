-- Scheduled events of these ids, as they are kept.
select s.id, s.due_at, s.published_at, s.occurred_at, s.tenant_id, s.event_name, s.event_key, s.payload, s.headers, s.refused_at
from :"schema".scheduled as s where s.id = any(%(ids)s::uuid[]);
