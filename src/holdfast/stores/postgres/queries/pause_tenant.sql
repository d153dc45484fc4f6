insert into :"schema".paused_tenants (subscription, tenant_id, paused_by)
select id, %(tenant_id)s, %(actor)s from :"schema".subscriptions where name = %(name)s
on conflict (subscription, tenant_id) do nothing
returning subscription;
