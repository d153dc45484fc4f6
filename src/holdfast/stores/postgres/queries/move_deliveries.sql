update :"schema".deliveries set partition = :"schema".slot_of(tenant_id, event_key, event_id) %% %(partitions)s
where subscription = %(subscription)s;
