-- Events to look at, newest first: all of them.
select e.position, null as day, e.occurred_at
from event_log as e
where e.position < coalesce(:before, 9223372036854775807)
order by e.position desc limit :limit;
