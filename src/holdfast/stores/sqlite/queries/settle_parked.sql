insert into deliveries (subscription, partition, event_id, position, tenant_id, event_key, event_name, state, attempts,
    put_offs, due_at, reason, created_at, updated_at)
values (:subscription, :partition, :event_id, :position, :tenant_id, :event_key, :event_name, :state, :attempts,
    :put_offs, :due_at, :reason, :now, :now)
on conflict (subscription, event_id) do nothing;
