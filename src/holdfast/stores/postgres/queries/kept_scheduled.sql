-- Scheduled events as they are kept, in the order of their ids.
select s.id, s.due_at, s.published_at, s.occurred_at, s.tenant_id, s.event_name, s.event_key, s.payload, s.headers, s.refused_at
from :"schema".scheduled as s where s.id > %(after)s::uuid order by s.id limit %(limit)s;
