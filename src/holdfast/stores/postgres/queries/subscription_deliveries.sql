-- Of one subscription's unsettled delivery rows, of one tenant or of all: the oldest; since when one could run, or runs
-- (of the first 1,000); and when one last changed.
select (select min(created_at) from :"schema".deliveries
        where subscription = %(subscription)s and state in ('pending', 'retrying', 'running')
            and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)) as oldest,
    (select min(case when d.state = 'running' then d.updated_at else greatest(d.due_at, d.updated_at) end)
    from (
        select * from :"schema".deliveries
        where subscription = %(subscription)s and state in ('pending', 'retrying', 'running')
            and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)
        order by id limit 1000
    ) as d
    join :"schema".subscriptions as s on s.id = d.subscription
    where d.state = 'running' or d.due_at <= clock_timestamp()
        and (d.event_key is null or s.ordering = 'none' or not exists (
            select from :"schema".deliveries as before
            where before.subscription = d.subscription and before.tenant_id = d.tenant_id
                and before.event_key = d.event_key and before.id < d.id
                and (before.state = 'running'
                    or before.state in ('pending', 'retrying') and before.due_at > clock_timestamp()
                    or before.state = 'dead' and s.on_dead = 'hold')))) as ready_since,
    (select max(updated_at) from :"schema".deliveries
        where subscription = %(subscription)s and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)) as moved_at,
    clock_timestamp() as now;
