select max(position) from (select position from event_log where position <= :horizon order by position limit :limit);
