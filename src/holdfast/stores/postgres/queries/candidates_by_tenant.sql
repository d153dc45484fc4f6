-- Events to look at, the newest by their own time first, by the search index of that name, which alone can give this order:
-- with "=" the planner would be free to walk the index of times. "<=" on the row, not "<": of a row the planner estimates
-- the first column alone, and where it expects next to nothing it reads and sorts everything. Where the event that the
-- page before ended with is gone, nothing is older.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where (e.tenant_id, e.occurred_at) >= (%(tenant_id)s::text, coalesce(%(since)s::timestamptz, '-infinity'))
    and (e.tenant_id, e.occurred_at, e.position) <= (
        %(tenant_id)s::text,
        case when %(before)s::bigint is null then coalesce(%(until)s::timestamptz, 'infinity')
            else (select b.occurred_at from :"schema".event_log as b where b.position = %(before)s::bigint) end,
        coalesce(%(before)s::bigint - 1, 0))
order by e.tenant_id desc, e.occurred_at desc, e.position desc limit %(limit)s;
