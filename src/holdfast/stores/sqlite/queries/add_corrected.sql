-- Store one event.
insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload, headers)
values (:id, :now, :tenant_id, :name, :key, :payload, :headers);
