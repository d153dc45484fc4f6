-- Off the fast path by their rows; the others from where the slowest partition stands, unless they have a receipt. What
-- paused tenants wait for does not count.
select s.id,
    (select count(*) from deliveries as d
        where d.subscription = s.id and d.position <= :horizon and d.state in ('pending', 'retrying', 'running')
            and not exists (select 1 from paused_tenants as p where p.subscription = s.id and p.tenant_id = d.tenant_id))
    + (select count(*) from interests as i join event_log as e on e.position = i.position
        where i.subscription = s.id and i.position <= :horizon
            and i.position > (select min(c.done) from cursors as c where c.subscription = s.id)
            and not exists (select 1 from receipts as r where r.event_id = e.id and r.subscription = s.id)
            and not exists (select 1 from deliveries as d where d.subscription = s.id and d.position = e.position)
            and not exists (select 1 from paused_tenants as p where p.subscription = s.id and p.tenant_id = e.tenant_id))
from subscriptions as s where s.id in (select value from json_each(:subscriptions));
