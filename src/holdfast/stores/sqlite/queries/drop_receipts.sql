delete from receipts where event_id in (select id from event_log where position <= :position);
