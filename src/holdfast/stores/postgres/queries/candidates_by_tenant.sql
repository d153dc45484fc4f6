-- Events to look at, newest first, by the search index of that name, which alone can give this order: with "=" the
-- planner would be free to walk the whole log by its positions. "<=" on the row, not "<": of a row the planner estimates
-- the first column alone, and where it expects next to nothing it reads and sorts everything.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.tenant_id >= %(tenant_id)s::text
    and (e.tenant_id, e.position) <= (%(tenant_id)s::text, coalesce(%(before)s::bigint - 1, 9223372036854775807))
order by e.tenant_id desc, e.position desc limit %(limit)s;
