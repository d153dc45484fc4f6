-- Events to look at, the newest by their own time first, by the search index of that name; in words as in
-- candidates_by_tenant. The first event of all carries no such header.
select * from (
    select e.position, null as day, e.occurred_at from event_log as e
    where case when json_valid(e.headers) then json_extract(e.headers, '$.correlation_id') end = :correlation_id and e.occurred_at >= coalesce(:since, '')
        and (e.occurred_at, e.position) < (
            case when :before is null then coalesce(:until, '~')
                else (select b.occurred_at from event_log as b where b.position = :before) end,
            coalesce(:before, 0))
    order by e.occurred_at desc, e.position desc limit :limit)
union
select e.position, null, e.occurred_at from event_log as e
where e.id = :correlation_event and e.occurred_at >= coalesce(:since, '')
    and (e.occurred_at, e.position) < (
        case when :before is null then coalesce(:until, '~')
            else (select b.occurred_at from event_log as b where b.position = :before) end,
        coalesce(:before, 0))
order by 3 desc, 1 desc limit :limit;
