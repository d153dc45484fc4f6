-- Events to look at, the newest by their own time first, by the search index of that name. Where the event that the page
-- before ended with is gone, nothing is older. One upper bound, a row: beside it "occurred_at < until" would not be where
-- the index is entered, and all that is later would be read.
select e.position, e.day, e.occurred_at
from :"schema".event_log as e
where e.occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
    and (e.occurred_at, e.position) < (
        case when %(before)s::bigint is null then coalesce(%(until)s::timestamptz, 'infinity')
            else (select b.occurred_at from :"schema".event_log as b where b.position = %(before)s::bigint) end,
        coalesce(%(before)s::bigint, 0))
order by e.occurred_at desc, e.position desc limit %(limit)s;
