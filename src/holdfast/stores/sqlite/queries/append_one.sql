insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload, headers)
values (:id, :occurred_at, :tenant_id, :event_name, :event_key, :payload, :headers)
on conflict (id) do nothing;
