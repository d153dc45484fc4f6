-- Events to look at, the newest by their own time first, by the search index of that name. Where the event that the page
-- before ended with is gone, nothing is older. '~' is later than any time.
select e.position, null as day, e.occurred_at
from event_log as e
where e.event_name = :name and e.occurred_at >= coalesce(:since, '')
    and (e.occurred_at, e.position) < (
        case when :before is null then coalesce(:until, '~')
            else (select b.occurred_at from event_log as b where b.position = :before) end,
        coalesce(:before, 0))
order by e.occurred_at desc, e.position desc limit :limit;
