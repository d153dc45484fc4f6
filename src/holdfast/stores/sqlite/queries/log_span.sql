select min(position), max(position) from event_log;
