delete from event_log where position <= :position;
