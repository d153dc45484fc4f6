-- What is due and not behind its key, in the first rows of these partitions, and whether there are more. What stands
-- before a row of its key has a lower id and lies in the same partition, so a prefix by id tells the truth about all of
-- its rows (a paused tenant's keys are left out whole); one pass over it, or a thousand rows behind one key would be looked at a thousand times each.
with standing as materialized (
    select d.id, d.subscription, d.tenant_id, d.event_key, d.state, d.due_at,
        s.ordering = 'key' and d.event_key is not null as is_ordered, s.on_dead = 'hold' as holds
    from deliveries as d join subscriptions as s on s.id = d.subscription
    where d.subscription = :subscription and d.state in ('pending', 'retrying', 'running')
        and d.partition in (select value from json_each(:partitions))
        and not exists (
            select 1 from paused_tenants as p where p.subscription = d.subscription and p.tenant_id = d.tenant_id)
    order by d.id limit :prefix
), judged as materialized (
    select id, subscription, tenant_id, event_key, is_ordered, holds, state <> 'running' and due_at <= :now as is_due,
        is_ordered and coalesce(max(state = 'running' or due_at > :now) over (
            partition by tenant_id, event_key order by id
            rows between unbounded preceding and 1 preceding), 0) as is_behind
    from standing
)
select (select json_group_array(id) from (
        select j.id from judged as j
        where j.is_due and not j.is_behind and not (j.is_ordered and j.holds and exists (
            select 1 from deliveries as dead
            where dead.subscription = j.subscription and dead.tenant_id = j.tenant_id
                and dead.event_key = j.event_key and dead.state = 'dead' and dead.id < j.id))
        order by j.id limit :limit)) as ids,
    (select count(*) from standing) = :prefix as has_more;
