-- Never back: where retention has dropped the newest events, the cursors are beyond what is left.
update cursors set done = max(done, (select coalesce(max(position), 0) from event_log)), open = null, position = 0,
    updated_at = :now
where subscription = :subscription;
