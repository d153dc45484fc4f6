delete from :"schema".paused_tenants as p using :"schema".subscriptions as s
where s.name = %(name)s and p.subscription = s.id and p.tenant_id = %(tenant_id)s
returning p.subscription;
