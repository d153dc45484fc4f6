select id, tenant_id, event_name, event_key, payload from scheduled where id = :id;
