-- The lowest and the highest position: each found at its end of the log, which both in one query would be read for.
select (select min(position) from event_log), (select max(position) from event_log);
