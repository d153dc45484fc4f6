select s.id, s.name, s.patterns, s.partitions, s.ordering, s.on_dead, s.replayable, s.paused_at is not null as paused,
    array(select p.tenant_id from :"schema".paused_tenants as p where p.subscription = s.id) as paused_tenants,
    s.concurrency, s.behind_retention
from :"schema".subscriptions as s order by s.name;
