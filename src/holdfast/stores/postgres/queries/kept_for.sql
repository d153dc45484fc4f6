-- What the live worker says that keeps events for the shortest time: what it drops is gone, whatever the others keep.
select w.retention, w.retention_warning from :"schema".workers as w
where w.retention is not null and w.heartbeat_at > clock_timestamp() - interval '1 minute'
order by w.retention, w.retention_warning desc limit 1;
