select s.id, s.name, s.patterns, s.partitions, s.ordering, s.on_dead, s.replayable, s.paused_at is not null as paused,
    (select json_group_array(p.tenant_id) from paused_tenants as p where p.subscription = s.id) as paused_tenants,
    s.concurrency, s.behind_retention
from subscriptions as s where s.name = :name;
