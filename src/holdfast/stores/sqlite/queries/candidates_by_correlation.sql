-- Events to look at, newest first, by the search index of that name; the first event of all carries no such header.
select * from (
    select e.position, null as day, e.occurred_at from event_log as e
    where case when json_valid(e.headers) then json_extract(e.headers, '$.correlation_id') end = :correlation_id
        and e.position < coalesce(:before, 9223372036854775807)
    order by e.position desc limit :limit)
union
select e.position, null, e.occurred_at from event_log as e
where e.id = :correlation_event and e.position < coalesce(:before, 9223372036854775807)
order by 1 desc limit :limit;
