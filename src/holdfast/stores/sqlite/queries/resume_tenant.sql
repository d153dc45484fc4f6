delete from paused_tenants
where subscription = (select id from subscriptions where name = :name) and tenant_id = :tenant_id
returning subscription;
