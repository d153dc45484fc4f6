-- Keep an event until it is due; its id is looked for already.
insert into scheduled (id, due_at, published_at, occurred_at, tenant_id, event_name, event_key, payload, headers)
values (:id, :due_at, :now, :occurred_at, :tenant_id, :event_name, :event_key, :payload, :headers);
