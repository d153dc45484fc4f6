-- Events to look at, newest first, by the search index of that name.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.event_name = %(name)s::text and e.position < coalesce(%(before)s::bigint, 9223372036854775807)
order by e.position desc limit %(limit)s;
