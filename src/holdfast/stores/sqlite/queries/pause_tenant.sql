insert into paused_tenants (subscription, tenant_id, paused_at, paused_by)
select id, :tenant_id, :now, :actor from subscriptions where name = :name
on conflict (subscription, tenant_id) do nothing
returning subscription;
