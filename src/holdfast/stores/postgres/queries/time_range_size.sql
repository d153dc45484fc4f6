-- How many events are of a time, counted up to a bound, by the search index "time".
select count(*) from (
    select from :"schema".event_log as e
    where e.occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
        and e.occurred_at < coalesce(%(until)s::timestamptz, 'infinity')
    limit %(limit)s
) as part;
