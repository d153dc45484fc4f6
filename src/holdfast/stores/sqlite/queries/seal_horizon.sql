-- The highest position: whatever lies below it is committed for good.
select coalesce((select seq from sqlite_sequence where name = 'event_log'), 0) as horizon, '' as incarnation, 1 as trusted;
