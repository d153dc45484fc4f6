-- Events to look at, newest first, of a time of few events: by the search index "time", then put in order.
with part as materialized (
    select e.position, e.day, e.occurred_at
    from :"schema".event_log as e
    where e.occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
        and e.occurred_at < coalesce(%(until)s::timestamptz, 'infinity')
)
select position, day, occurred_at from part
where position < coalesce(%(before)s::bigint, 9223372036854775807)
order by position desc limit %(limit)s;
