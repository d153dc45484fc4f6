-- Events to look at, newest first, of a time of few events: by the search index "time", then put in order.
with part as materialized (
    select e.position, null as day, e.occurred_at
    from event_log as e
    where e.occurred_at >= coalesce(:since, '') and e.occurred_at < coalesce(:until, '~')
)
select position, day, occurred_at from part
where position < coalesce(:before, 9223372036854775807)
order by position desc limit :limit;
