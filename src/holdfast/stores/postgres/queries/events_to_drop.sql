-- A page of a day of the log, whole, to be archived before the day is dropped.
select e.position, e.id, e.day, e.slot, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers
from :"schema".event_log as e
where e.day = %(day)s::date and e.position > %(after)s::bigint and e.position <= %(last)s::bigint
order by e.position;
