select day::date from generate_series((clock_timestamp() at time zone 'UTC')::date,
    (clock_timestamp() at time zone 'UTC')::date + %(ahead)s, interval '1 day') as day
where to_regclass(':"schema".event_log_' || to_char(day, 'YYYYMMDD')) is null order by day;
