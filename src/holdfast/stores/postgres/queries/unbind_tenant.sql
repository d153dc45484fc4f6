-- A login is bound to a tenant, or to any (null), no longer. Returns how many it was bound to.
select :"schema".unbind_tenant(%(login)s::text::name, %(tenant)s::text);
