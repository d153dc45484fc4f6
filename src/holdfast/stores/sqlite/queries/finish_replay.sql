-- The row goes with the replay's effect, in its transaction; who finds none came too late and must not run again.
delete from deliveries where subscription = :subscription and event_id = :event_id and state = 'running';
