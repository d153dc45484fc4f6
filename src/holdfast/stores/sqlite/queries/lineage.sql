-- Where an event lies, and what caused it.
select e.id, e.position, null as day, case when json_valid(e.headers) then json_extract(e.headers, '$.causation_id') end as cause
from event_log as e where e.id = :event_id;
