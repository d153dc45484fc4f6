-- Which logins are bound to which tenants, and why one is not in spite of it: it was given rights since.
select g.login::text, g.tenant_id, g.created_at, :"schema".unbound_because(g.login)
from :"schema".tenant_grants as g order by g.login, g.tenant_id;
