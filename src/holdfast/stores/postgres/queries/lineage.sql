-- Where an event lies, and what caused it.
select e.id::text, e.position, e.day, substring(e.headers::text from '"causation_id"\s*:\s*"([^"\\]+)"') as cause
from :"schema".event_log as e where e.id = %(event_id)s::uuid
order by e.position limit 1;
