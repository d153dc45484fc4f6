select id, tenant_id, event_name, event_key, payload from event_log where id = :id;
