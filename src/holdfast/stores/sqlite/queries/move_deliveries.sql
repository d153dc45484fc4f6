update deliveries set partition = holdfast_slot(cast(tenant_id as blob), cast(event_key as blob), cast(event_id as blob)) % :partitions
where subscription = :subscription;
