select position from event_log where id = :id;
