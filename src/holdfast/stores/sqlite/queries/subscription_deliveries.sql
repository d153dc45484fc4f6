-- Of one subscription's unsettled delivery rows, of one tenant or of all: the oldest; since when one could run, or runs
-- (of the first 1,000); and when one last changed.
select (select min(created_at) from deliveries
        where subscription = :subscription and state in ('pending', 'retrying', 'running')
            and (:tenant_id is null or tenant_id = :tenant_id)) as oldest,
    (select min(case when d.state = 'running' then d.updated_at else max(d.due_at, d.updated_at) end)
    from (
        select * from deliveries
        where subscription = :subscription and state in ('pending', 'retrying', 'running')
            and (:tenant_id is null or tenant_id = :tenant_id)
        order by id limit 1000
    ) as d
    join subscriptions as s on s.id = d.subscription
    where d.state = 'running' or d.due_at <= :now
        and (d.event_key is null or s.ordering = 'none' or not exists (
            select 1 from deliveries as before
            where before.subscription = d.subscription and before.tenant_id = d.tenant_id
                and before.event_key = d.event_key and before.id < d.id
                and (before.state = 'running'
                    or before.state in ('pending', 'retrying') and before.due_at > :now
                    or before.state = 'dead' and s.on_dead = 'hold')))) as ready_since,
    (select max(updated_at) from deliveries
        where subscription = :subscription and (:tenant_id is null or tenant_id = :tenant_id)) as moved_at,
    :now as now;
