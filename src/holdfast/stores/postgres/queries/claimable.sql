-- What is due and not behind its key, in the first rows of each partition, and whether there are more. What stands
-- before a row of its key has a lower id and lies in the same partition, so a prefix by id tells the truth about all of
-- its rows (a paused tenant's keys are left out whole); one pass over it, or a thousand rows behind one key would be looked at a thousand times each.
-- One reading of the clock for all: a retry that falls due in the middle would be not due itself and no longer in the
-- way of those behind it.
with standing as materialized (
    select d.*, s.ordering = 'key' and d.event_key is not null as is_ordered, s.on_dead = 'hold' as holds
    from unnest(%(subscriptions)s::integer[], %(partitions)s::integer[]) as held(subscription, partition)
    join :"schema".subscriptions as s on s.id = held.subscription
    cross join lateral (
        select id, subscription, partition, tenant_id, event_key, state, due_at,
            row_number() over (order by id) = %(prefix)s as is_last
        from :"schema".deliveries as unsettled
        where unsettled.subscription = held.subscription and unsettled.partition = held.partition
            and unsettled.state in ('pending', 'retrying', 'running')
            and not exists (select from :"schema".paused_tenants as p
                where p.subscription = unsettled.subscription and p.tenant_id = unsettled.tenant_id)
        order by id limit %(prefix)s
    ) as d
), judged as (
    select id, subscription, tenant_id, event_key, is_ordered, holds,
        state <> 'running' and due_at <= statement_timestamp() as is_due,
        is_ordered and coalesce(bool_or(state = 'running' or due_at > statement_timestamp()) over (
            partition by subscription, tenant_id, event_key order by id
            rows between unbounded preceding and 1 preceding), false) as is_behind
    from standing
)
select coalesce((select array_agg(id order by id) from (
        select j.id from judged as j
        where j.is_due and not j.is_behind and not (j.is_ordered and j.holds and exists (
            select from :"schema".deliveries as dead
            where dead.subscription = j.subscription and dead.tenant_id = j.tenant_id
                and dead.event_key = j.event_key and dead.state = 'dead' and dead.id < j.id))
        order by j.id limit %(limit)s
    ) as first), '{}') as ids,
    exists (select from standing where is_last) as has_more;
