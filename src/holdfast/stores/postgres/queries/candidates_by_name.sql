-- Events to look at, the newest by their own time first, by the search index of that name; in words as in
-- candidates_by_tenant.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where (e.event_name, e.occurred_at) >= (%(name)s::text, coalesce(%(since)s::timestamptz, '-infinity'))
    and (e.event_name, e.occurred_at, e.position) <= (
        %(name)s::text,
        case when %(before)s::bigint is null then coalesce(%(until)s::timestamptz, 'infinity')
            else (select b.occurred_at from :"schema".event_log as b where b.position = %(before)s::bigint) end,
        coalesce(%(before)s::bigint - 1, 0))
order by e.event_name desc, e.occurred_at desc, e.position desc limit %(limit)s;
