-- The positions of the first and last event of a replay, null where no such event is stored, and the log's last one.
select (select position from event_log where id = :first_id) as first,
    (select position from event_log where id = :last_id) as last,
    (select coalesce(max(position), 0) from event_log) as newest;
