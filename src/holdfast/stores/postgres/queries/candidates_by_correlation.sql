-- Events to look at, the newest by their own time first, by the search index of that name; in words as in
-- candidates_by_tenant. The first event of all carries no such header.
(select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.headers is not null
    and (left(substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), 200), e.occurred_at) >= (left(%(correlation_id)s::text, 200), coalesce(%(since)s::timestamptz, '-infinity'))
    and (left(substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), 200), e.occurred_at, e.position) <= (
        left(%(correlation_id)s::text, 200),
        case when %(before)s::bigint is null then coalesce(%(until)s::timestamptz, 'infinity')
            else (select b.occurred_at from :"schema".event_log as b where b.position = %(before)s::bigint) end,
        coalesce(%(before)s::bigint - 1, 0))
order by left(substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), 200) desc, e.occurred_at desc, e.position desc limit %(limit)s)
union
(select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.id = %(correlation_event)s::uuid
    and e.occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
    and (e.occurred_at, e.position) < (
        case when %(before)s::bigint is null then coalesce(%(until)s::timestamptz, 'infinity')
            else (select b.occurred_at from :"schema".event_log as b where b.position = %(before)s::bigint) end,
        coalesce(%(before)s::bigint, 0)))
order by occurred_at desc, position desc limit %(limit)s;
