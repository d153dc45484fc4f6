-- What the live worker says that keeps events for the shortest time: what it drops is gone, whatever the others keep.
select retention, retention_warning from workers
where retention is not null and heartbeat_at > :minute_ago
order by retention, retention_warning desc limit 1;
