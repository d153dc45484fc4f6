-- Events to look at, newest first, by the search index of that name; in words as in candidates_by_tenant.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.event_key >= %(key)s::text
    and (e.event_key, e.position) <= (%(key)s::text, coalesce(%(before)s::bigint - 1, 9223372036854775807))
order by e.event_key desc, e.position desc limit %(limit)s;
