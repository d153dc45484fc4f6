-- Events to look at, newest first, by the search index of that name.
select e.position, null as day, e.occurred_at
from event_log as e
where e.tenant_id = :tenant_id and e.position < coalesce(:before, 9223372036854775807)
order by e.position desc limit :limit;
