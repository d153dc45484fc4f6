-- How many positions the log spans: the number of its events, but for what was dropped out of turn. Two questions, as
-- both ends asked for in one would be looked for in all of it.
select coalesce((select max(position) from event_log) - (select min(position) from event_log) + 1, 0);
