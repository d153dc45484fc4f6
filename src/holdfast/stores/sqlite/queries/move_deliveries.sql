update deliveries set partition = holdfast_slot(tenant_id, event_key, event_id) % :partitions
where subscription = :subscription;
