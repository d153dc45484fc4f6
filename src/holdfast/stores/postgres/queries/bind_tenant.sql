-- Bind a login to a tenant.
select :"schema".bind_tenant(%(login)s::text::name, %(tenant)s::text);
