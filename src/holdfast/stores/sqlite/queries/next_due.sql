select min(due_at) from deliveries
where subscription = :subscription
    and state in ('pending', 'retrying', 'running') and state <> 'running'
    and due_at > :now
    and partition in (select value from json_each(:partitions))
    and not exists (select 1 from paused_tenants as p
        where p.subscription = deliveries.subscription and p.tenant_id = deliveries.tenant_id);
