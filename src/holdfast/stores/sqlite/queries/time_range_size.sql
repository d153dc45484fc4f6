-- How many events are of a time, counted up to a bound, by the search index "time".
select count(*) from (
    select 1 from event_log as e
    where e.occurred_at >= coalesce(:since, '') and e.occurred_at < coalesce(:until, '~')
    limit :limit
) as part;
