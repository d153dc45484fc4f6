select min(position) from event_log where occurred_at >= :time;
