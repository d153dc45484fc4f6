-- All that lies in the log has a receipt, or a row where it waits: cursors go on behind it.
update cursors set done = max(done, (select coalesce(max(position), 0) from event_log)), open = null, position = 0,
    deferred = null, updated_at = :now;
