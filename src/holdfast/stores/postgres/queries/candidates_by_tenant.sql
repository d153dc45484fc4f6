-- Events to look at, newest first, by the search index of that name. "=" would leave the planner free to walk the whole
-- log by its positions; what is said here in other words only that index can give in this order.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.tenant_id >= %(tenant_id)s::text
    and (e.tenant_id, e.position) < (%(tenant_id)s::text, coalesce(%(before)s::bigint, 9223372036854775807))
order by e.tenant_id desc, e.position desc limit %(limit)s;
