-- How many positions the log spans: the number of its events, but for what was dropped out of turn.
select coalesce(max(position) - min(position) + 1, 0) from event_log;
