select s.name, p.tenant_id, p.paused_at, p.paused_by
from :"schema".paused_tenants as p join :"schema".subscriptions as s on s.id = p.subscription
order by s.name, p.tenant_id;
