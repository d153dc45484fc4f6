-- Events in the window between each persisted cursor and the horizon that have neither receipt nor a settled
-- delivery row, and the delivery rows that are not settled. Two branches, each with its range of the index. What paused
-- tenants wait for does not count.
select counts.subscription, sum(counts.number)::bigint
from (
    select c.subscription, count(*) as number
    from :"schema".cursors as c
    join :"schema".subscriptions as s on s.id = c.subscription
    join lateral (
        select e.* from :"schema".event_log as e where e.txid >= pg_snapshot_xmax(c.done)
        union all
        select e.* from :"schema".event_log as e where e.txid = any(array(select pg_snapshot_xip(c.done)))
    ) as e on pg_visible_in_snapshot(e.txid, %(horizon)s::pg_snapshot)
        and e.slot %% s.partitions = c.partition
        and not (c.open is not null and pg_visible_in_snapshot(e.txid, c.open) and e.position < c.position)
        and exists (select from unnest(s.regexes) as regex where e.event_name ~ regex)
    where c.subscription = any(%(subscriptions)s::integer[])
        and not exists (select from :"schema".receipts as r
            where r.event_id = e.id and r.day = e.day and r.subscription = c.subscription)
        and not exists (select from :"schema".deliveries as d
            where d.event_id = e.id and d.subscription = c.subscription)
        and not exists (select from :"schema".paused_tenants as p
            where p.subscription = c.subscription and p.tenant_id = e.tenant_id)
    group by c.subscription
    union all
    select d.subscription, count(*) as number
    from :"schema".deliveries as d
    where d.subscription = any(%(subscriptions)s::integer[]) and d.state in ('pending', 'retrying', 'running')
        and not exists (select from :"schema".paused_tenants as p
            where p.subscription = d.subscription and p.tenant_id = d.tenant_id)
    group by d.subscription
) as counts
group by counts.subscription;
