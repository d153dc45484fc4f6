-- Events to look at, newest first: all of them.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.position < coalesce(%(before)s::bigint, 9223372036854775807)
order by e.position desc limit %(limit)s;
