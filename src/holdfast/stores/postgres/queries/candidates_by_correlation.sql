-- Events to look at, newest first, by the search index of that name; in words as in candidates_by_tenant. The first
-- event of all carries no such header.
(select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.headers is not null
    and left(substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), 200) >= left(%(correlation_id)s::text, 200)
    and (left(substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), 200), e.position)
        <= (left(%(correlation_id)s::text, 200), coalesce(%(before)s::bigint - 1, 9223372036854775807))
order by left(substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), 200) desc, e.position desc
limit %(limit)s)
union
(select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.id = %(correlation_event)s::uuid and e.position < coalesce(%(before)s::bigint, 9223372036854775807))
order by position desc limit %(limit)s;
