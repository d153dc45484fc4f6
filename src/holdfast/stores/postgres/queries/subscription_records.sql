select s.id, s.name, s.patterns, s.partitions, s.ordering, s.on_dead, s.replayable, s.paused_at, s.paused_by,
    array(select p.tenant_id from :"schema".paused_tenants as p where p.subscription = s.id order by p.tenant_id)
        as paused_tenants,
    s.concurrency, s.behind_retention, s.created_at, s.updated_at
from :"schema".subscriptions as s order by s.name;
