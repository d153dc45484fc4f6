-- Events older than the retention time whose day is not: they go with it.
with cutoff as (
    select ((clock_timestamp() - make_interval(secs => %(retention)s)) at time zone 'UTC')::timestamp as at
)
select count(*) from cutoff join :"schema".event_log as e on e.day = cutoff.at::date
where e.occurred_at at time zone 'UTC' < cutoff.at;
